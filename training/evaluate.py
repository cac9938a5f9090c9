"""Stage 3: calibrate on validation photos, then score the test split once, and every other set, with pictures.

Sets under data/raw/extra/ show our classes, taken by others; those under data/raw/outliers/ show none of them.
"""

import csv
import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from sklearn.metrics import roc_auc_score
from torch import nn

from training import calibration, config, plots
from training.calibration import CALIBRATION, Calibration, familiarity
from training.data import Photos, Upright, every, loader, read_folder, read_manifest, read_split, read_unlabelled
from training.distributed import join
from training.metrics import score
from training.model import Floats, Scored, load_checkpoint, predict
from training.source import EXTRA, OUTLIERS
from training.state import keep_memory
from training.tracking import start_run

METRICS = calibration.REPORT
PLOTS = Path("artifacts/plots")
DRAWN = ("confusion", "predictions", "reliability", "roc")
MISTAKES = Path("artifacts/mistakes")  # holds photos, so it stays out of Git
FAMILIAR_PHOTOS = 2000  # of the training split, at most: enough for an average


def main() -> None:
    keep_memory()
    params = config.load(config.Evaluate)
    model, checkpoint = load_checkpoint()
    names = checkpoint["class_names"]
    load, rows = Upright(params.image_size), read_manifest()
    sets = {"test": read_split(rows, "test", load)} | read_extra(names, load)  # before the work: these may be wrong
    outliers = read_outliers(set(sets), load)
    train, val = (
        run(model, photos, params.batch_size)
        for photos in (every(read_split(rows, "train", load), FAMILIAR_PHOTOS), read_split(rows, "val", load))
    )
    fitted = calibration.fit(train, val, params.unknown_rate)
    fitted.write()

    scored = {name: run(model, photos, params.batch_size) for name, photos in sets.items()}
    report = {
        "image_size": params.image_size,
        "temperature": fitted.temperature,
        "unknown_threshold": fitted.unknown_threshold,
        "sets": {name: score_set(fitted, answers) for name, answers in scored.items()},
        "outliers": {
            name: score_outliers(fitted, run(model, photos, params.batch_size), scored["test"])
            for name, photos in outliers.items()
        },
    }
    for path in [*MISTAKES.glob("*.png"), *(drawing for kind in DRAWN for drawing in PLOTS.glob(f"{kind}_*"))]:
        path.unlink()  # maybe of a set that is no longer scored
    for name, photos in sets.items():
        draw(name, names, photos, fitted.probabilities(scored[name]))
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(report, indent=2) + "\n")
    log(checkpoint["run_id"], report)
    print(json.dumps(_shares(report), indent=2))


def score_set(fitted: Calibration, scored: Scored) -> dict[str, Any]:
    figures = score(fitted.probabilities(scored), scored.labels)
    return figures | {"unknown_rate": float(fitted.unknown(scored).mean())}


def score_outliers(fitted: Calibration, scored: Scored, ours: Scored) -> dict[str, Any]:
    """The share that is called unknown, and how well familiarity tells them from the test split at any threshold."""
    known, strange = (familiarity(answers, fitted.familiar) for answers in (ours, scored))
    which = np.repeat([1, 0], [len(known), len(strange)])
    return {
        "photos": len(strange),
        "recognised": float(fitted.unknown(scored).mean()),
        "roc_auc": float(roc_auc_score(which, np.concatenate([known, strange]))),
    }


def read_extra(names: list[str], load: Upright) -> dict[str, Photos]:
    """The further sets that show at least two of the model's classes; ROC-AUC means nothing on one."""
    if (EXTRA / "test").exists():
        raise SystemExit(f"{EXTRA / 'test'} would take the place of the test split; rename it")
    found = {path.name: read_folder(path, names, load) for path in _visible(EXTRA)}
    for name, photos in found.items():
        if len(set(photos.labels)) < 2:
            print(f"{name}: skipped, it shows fewer than two of the classes {', '.join(names)}")
    return {name: photos for name, photos in found.items() if len(set(photos.labels)) > 1}


def read_outliers(taken: set[str], load: Upright) -> dict[str, Photos]:
    """The sets that show no class of ours and hold a readable photo; no two figures may have one name."""
    found = {path.name: read_unlabelled(path, load) for path in _visible(OUTLIERS)}
    for name, photos in found.items():
        if name in taken:
            raise SystemExit(f"{OUTLIERS / name} has the name of another set that is scored; rename it")
        if not len(photos):
            print(f"{name}: skipped, it holds no readable photo")
    return {name: photos for name, photos in found.items() if len(photos)}


def _visible(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*")) if not path.name.startswith(".")]  # .DS_Store


def run(model: nn.Module, photos: Photos, batch_size: int) -> Scored:
    device = join().device
    return predict(model.to(device), loader(photos, batch_size, config.load(config.Train).workers), device)


def draw(name: str, names: list[str], photos: Photos, probabilities: Floats) -> None:
    labels = np.array(photos.labels)
    for folder in (PLOTS, MISTAKES):
        folder.mkdir(parents=True, exist_ok=True)
    plots.confusion(probabilities, labels, names, PLOTS / f"confusion_{name}.png")
    plots.reliability(probabilities, labels, PLOTS / f"reliability_{name}.png")
    plots.roc(probabilities, labels, names, PLOTS / f"roc_{name}.png")
    plots.worst_mistakes(probabilities, photos, names, MISTAKES / f"{name}.png")
    with (PLOTS / f"predictions_{name}.csv").open("w", newline="") as file:  # what `dvc plots show` draws
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("label", "predicted"))
        writer.writerows((names[i], names[j]) for i, j in zip(labels, probabilities.argmax(1), strict=True))


def log(run_id: str, report: dict[str, Any]) -> None:
    """Add the figures and pictures to the run that trained the network."""
    with start_run(run_id):
        mlflow.log_metrics(_shares(report))
        for path in (METRICS, CALIBRATION):
            mlflow.log_artifact(str(path))
        mlflow.log_artifacts(str(PLOTS), "plots")


def _shares(report: dict[str, Any]) -> dict[str, float]:
    """`SET_figure: value` of every figure that is one number."""
    sets = report["sets"] | report["outliers"]
    return {f"{name}_{k}": v for name, values in sets.items() for k, v in values.items() if isinstance(v, float)}


if __name__ == "__main__":
    main()
