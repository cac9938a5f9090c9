"""Stage 3: score the test split once, and every set under data/raw/extra/, as JSON and as pictures.

The temperature and the threshold of `unknown` are fitted on validation photos first: what is scored is what is served.
"""

import csv
import json
from pathlib import Path
from typing import Any

import mlflow
import torch
from scipy.special import logsumexp, softmax
from torch import nn

from training import config, plots
from training.data import Photos, Upright, loader, read_folder, read_manifest, read_split
from training.metrics import Floats, fit_temperature, fit_unknown_threshold, score
from training.model import Scored, load_checkpoint, predict
from training.tracking import start_run

EXTRA = Path("data/raw/extra")
METRICS = Path("artifacts/metrics/evaluate.json")
PLOTS = Path("artifacts/plots")
MISTAKES = Path("artifacts/mistakes")  # holds photos, so it stays out of Git


def main() -> None:
    params = config.load(config.Evaluate)
    model, checkpoint = load_checkpoint()
    names = checkpoint["class_names"]
    load, rows = Upright(params.image_size), read_manifest()
    logits, labels = run(model, read_split(rows, "val", load), params.batch_size)
    temperature = fit_temperature(logits, labels)
    threshold = fit_unknown_threshold(logits, params.unknown_rate)

    sets = {"test": read_split(rows, "test", load)}
    sets |= read_extra(names, load)
    scores = {}
    for name, photos in sets.items():
        logits, labels = run(model, photos, params.batch_size)
        probabilities = softmax(logits / temperature, axis=1)
        scores[name] = score(probabilities, labels) | {
            "unknown_rate": float((logsumexp(logits, axis=1) < threshold).mean())
        }
        draw(name, names, photos, (probabilities, labels))
        print(f"{name}: {scores[name]['photos']} photos, accuracy {scores[name]['accuracy']:.4f}")
    report = {
        "image_size": params.image_size,
        "temperature": temperature,
        "unknown_threshold": threshold,
        "sets": scores,
    }
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(report, indent=2) + "\n")
    log(checkpoint["run_id"], scores)


def read_extra(names: list[str], load: Upright) -> dict[str, Photos]:
    """The further sets that show at least two of the model's classes; ROC-AUC means nothing on one."""
    if (EXTRA / "test").exists():
        raise SystemExit(f"{EXTRA / 'test'} would take the place of the test split; rename it")
    paths = [path for path in sorted(EXTRA.iterdir()) if not path.name.startswith(".")]  # .DS_Store
    found = {path.name: read_folder(path, names, load) for path in paths}
    for name, photos in found.items():
        if len(set(photos.labels)) < 2:
            print(f"{name}: skipped, it shows fewer than two of the classes {', '.join(names)}")
    return {name: photos for name, photos in found.items() if len(set(photos.labels)) > 1}


def run(model: nn.Module, photos: Photos, batch_size: int) -> Scored:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    workers = config.load(config.Train).workers
    return predict(model.to(device), loader(photos, batch_size, workers, shuffle=False), device)


def draw(name: str, names: list[str], photos: Photos, scored: tuple[Floats, Any]) -> None:
    probabilities, labels = scored
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


def log(run_id: str, scores: dict[str, dict[str, Any]]) -> None:
    """Add the figures and pictures to the run that trained the network."""
    with start_run(run_id):
        for name, values in scores.items():
            mlflow.log_metrics({f"{name}_{key}": v for key, v in values.items() if isinstance(v, float)})
        mlflow.log_artifact(str(METRICS))
        mlflow.log_artifacts(str(PLOTS), "plots")


if __name__ == "__main__":
    main()
