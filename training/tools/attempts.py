"""`make attempts`: read the training runs that competed for the release from MLflow, for training/RESULTS.md.

An attempt is a run with the tag `attempt`, which describes the experiment in a few words (`make train ATTEMPT='…'`
sets it). artifacts/metrics/attempts.json keeps the rows, so that the table survives the loss of the store.
"""

from statistics import median
from typing import Any

import mlflow
from mlflow.entities import Run

from training import config
from training.figures import METRICS, read_figures, write_figures
from training.tools.results_page import render_attempts

EPOCH_METRICS = ("train_accuracy", "val_accuracy", "best_train_accuracy", "best_val_accuracy")
OLD_UNKNOWN_RATE = "recognised"  # the metric of outliers in runs up to version 0.2


def main() -> None:
    kept = read_figures("attempts") if (METRICS / "attempts.json").exists() else []
    rows = {row["run_id"]: row for row in [*kept, *read_store()]}
    attempts = sorted(rows.values(), key=lambda row: row["started"])
    write_figures("attempts", attempts)
    print(render_attempts(attempts))


def read_store() -> list[dict[str, Any]]:
    """Return a row for each attempt that was trained and evaluated."""
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(config.load(config.Tracking).experiment)
    runs = client.search_runs([experiment.experiment_id], "tags.attempt != ''") if experiment else []
    return [read_run(client, run) for run in runs if {"val_loss", "test_accuracy"} <= run.data.metrics.keys()]


def read_run(client: mlflow.MlflowClient, run: Run) -> dict[str, Any]:
    metrics = run.data.metrics
    epoch_ends = [epoch.timestamp for epoch in client.get_metric_history(run.info.run_id, "val_loss")]
    accuracy = metric_by_set({k: v for k, v in metrics.items() if k not in EPOCH_METRICS}, "accuracy")
    # Labeled sets and outliers have an unknown rate; only labeled sets have an accuracy.
    unknown_rate = metric_by_set(metrics, OLD_UNKNOWN_RATE) | metric_by_set(metrics, "unknown_rate")
    params = {k: v for k, v in run.data.params.items() if k.startswith(("train.", "augment."))}
    return {
        "attempt": run.data.tags["attempt"],
        "run_id": run.info.run_id,
        "started": run.info.start_time,
        "params": {config.RENAMED.get(key, key): value for key, value in params.items()},
        "accuracy": accuracy,
        "unknown_rate": {name: rate for name, rate in unknown_rate.items() if name not in accuracy},
        "calibration_error": metrics.get("test_calibration_error"),
        "minutes": training_minutes(run.info.start_time, epoch_ends),
    }


def metric_by_set(metrics: dict[str, float], name: str) -> dict[str, float]:
    """Select one metric: `SET_name: value`, as evaluation logs it, becomes `SET: value`."""
    return {key.removesuffix(f"_{name}"): value for key, value in metrics.items() if key.endswith(f"_{name}")}


def training_minutes(start: int, epoch_ends: list[int]) -> float:
    """Return the minutes of training and validation, from timestamps in milliseconds.

    The number of epochs times the median epoch, so that a pause before resuming does not count.
    """
    epochs = [end - begin for begin, end in zip([start, *epoch_ends], epoch_ends, strict=False)]
    return len(epochs) * median(epochs) / 60_000


if __name__ == "__main__":
    main()
