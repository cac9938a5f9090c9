"""Calibrate on the validation split, then score the test split and every further set, with plots."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from sklearn.metrics import roc_auc_score
from torch import nn

from training import calibration, config, plots
from training.batches import loader
from training.calibration import CALIBRATION, Calibration, familiarity
from training.csv_file import write_rows
from training.distributed import join_world
from training.figures import METRICS, PLOTS, write_figures
from training.further_sets import read_extra, read_outliers
from training.interruption import exit_when_interrupted
from training.manifest import read_manifest
from training.metrics import score
from training.model import load_checkpoint, predict
from training.photo_dataset import Photos, Preprocessor, read_split, subsample
from training.predictions import Floats, Predictions
from training.source import PHOTOS, SourceList
from training.split import Row
from training.state import keep_freed_memory, release_freed_memory
from training.tracking import start_run

PLOT_KINDS = ("confusion", "predictions", "reliability", "roc")
MISTAKES = Path("artifacts/mistakes")  # contains photos, so Git ignores it
MAX_FAMILIAR_PHOTOS = 2000  # of the training split; enough for an average


@exit_when_interrupted()
def main() -> None:
    keep_freed_memory()
    params = config.load(config.Evaluate)
    model, checkpoint = load_checkpoint()
    model.to(join_world().device)
    names = checkpoint["class_names"]
    to_pixels, rows = Preprocessor(params.image_size), read_manifest()
    # Read all sets first: an invalid one should fail before minutes of inference.
    sets = {"test": read_split(rows, "test", to_pixels)} | read_extra(names, to_pixels)
    outliers = read_outliers(set(sets), to_pixels)
    fitted = calibrate(model, rows, to_pixels, params)

    predictions = predict_sets(model, sets | outliers, params.batch_size)
    report = {
        "image_size": params.image_size,
        "temperature": fitted.temperature,
        "unknown_threshold": fitted.unknown_threshold,
        "sets": {name: score_set(fitted, predictions[name]) for name in sets},
        "outliers": {name: score_outliers(fitted, predictions[name], predictions["test"]) for name in outliers},
    }
    remove_old_plots()
    for name, photos in sets.items():
        write_plots(name, names, photos, fitted.probabilities(predictions[name]))
    write_figures("evaluate", report)
    write_training(checkpoint)
    log(checkpoint["run_id"], report)
    print(json.dumps(flatten(report), indent=2))


def calibrate(model: nn.Module, rows: list[Row], to_pixels: Preprocessor, params: config.Evaluate) -> Calibration:
    """Fit the calibration on the validation split and on a sample of the training split, and write it."""
    train = subsample(read_split(rows, "train", to_pixels), MAX_FAMILIAR_PHOTOS)
    val = read_split(rows, "val", to_pixels)
    predictions = predict_sets(model, {"train": train, "val": val}, params.batch_size)
    fitted = calibration.fit(predictions["train"], predictions["val"], params.unknown_rate)
    fitted.write()
    return fitted


def predict_sets(model: nn.Module, sets: Mapping[str, Photos], batch_size: int) -> dict[str, Predictions]:
    return {name: predict_photos(model, photos, batch_size) for name, photos in sets.items()}


def write_training(checkpoint: dict[str, Any]) -> None:
    """Write everything in the checkpoint but the weights: params, class names, provenance and the best epoch."""
    keys = ("train", "augment", "class_names", "data_hash", "git_commit", "run_id")
    description = {key: checkpoint[key] for key in keys} | {
        "best": checkpoint["epoch"],
        "sources": SourceList.read_source_names(PHOTOS),
    }
    write_figures("train", description)


def score_set(fitted: Calibration, predictions: Predictions) -> dict[str, Any]:
    scores = score(fitted.probabilities(predictions), predictions.labels)
    return scores | {"unknown_rate": float(fitted.is_unknown(predictions).mean())}


def score_outliers(fitted: Calibration, outliers: Predictions, test: Predictions) -> dict[str, Any]:
    """Return the share of outliers called unknown, and how well familiarity separates them from the test split."""
    known, unknown = (familiarity(predictions, fitted.familiar) for predictions in (test, outliers))
    is_known = np.repeat([1, 0], [len(known), len(unknown)])
    return {
        "photos": len(unknown),
        "unknown_rate": float(fitted.is_unknown(outliers).mean()),
        "roc_auc": float(roc_auc_score(is_known, np.concatenate([known, unknown]))),
    }


def predict_photos(model: nn.Module, photos: Photos, batch_size: int) -> Predictions:
    release_freed_memory()
    return predict(model, loader(photos, batch_size, config.load(config.Train).workers))


def remove_old_plots() -> None:
    """Remove the plots of the last run: one of its sets may no longer be scored."""
    for path in [*MISTAKES.glob("*.png"), *(plot for kind in PLOT_KINDS for plot in PLOTS.glob(f"{kind}_*"))]:
        path.unlink()


def write_plots(name: str, names: list[str], photos: Photos, probabilities: Floats) -> None:
    labels = np.array(photos.labels)
    for folder in (PLOTS, MISTAKES):
        folder.mkdir(parents=True, exist_ok=True)
    plots.confusion(probabilities, labels, names, PLOTS / f"confusion_{name}.png")
    plots.reliability(probabilities, labels, PLOTS / f"reliability_{name}.png")
    plots.roc(probabilities, labels, names, PLOTS / f"roc_{name}.png")
    plots.worst_mistakes(probabilities, photos, names, MISTAKES / f"{name}.png")
    rows = [{"label": names[i], "predicted": names[j]} for i, j in zip(labels, probabilities.argmax(1), strict=True)]
    write_rows(PLOTS / f"predictions_{name}.csv", ("label", "predicted"), rows)  # `dvc plots show` draws this file


def log(run_id: str, report: dict[str, Any]) -> None:
    """Add the metrics and plots to the MLflow run that trained the network."""
    with start_run(run_id):
        mlflow.log_metrics(flatten(report))
        for path in (CALIBRATION, METRICS / "evaluate.json", METRICS / "train.json"):
            mlflow.log_artifact(str(path))
        mlflow.log_artifacts(str(PLOTS), "plots")


def flatten(report: dict[str, Any]) -> dict[str, float]:
    """Return every metric that is a float as `SET_metric: value`."""
    sets = report["sets"] | report["outliers"]
    return {f"{name}_{k}": v for name, values in sets.items() for k, v in values.items() if isinstance(v, float)}


if __name__ == "__main__":
    main()
