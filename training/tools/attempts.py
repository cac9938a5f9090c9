"""`make attempts`: the trainings that competed for the release, from MLflow to a table of training/RESULTS.md.

An attempt is a run with the tag `attempt`, which says in a few words what was tried (`make train ATTEMPT='…'` sets it).
Rows are kept in artifacts/metrics/attempts.json, so that the table outlives the store.
"""

import json
from pathlib import Path
from statistics import median
from typing import Any

import mlflow
from mlflow.entities import Run

from training import config
from training.tools.results_page import insert, percent, table
from training.tracking import connect

ATTEMPTS = Path("artifacts/metrics/attempts.json")


def main() -> None:
    kept = json.loads(ATTEMPTS.read_text()) if ATTEMPTS.exists() else []
    rows = {row["run_id"]: row for row in [*kept, *read_store()]}
    attempts = sorted(rows.values(), key=lambda row: row["started"])
    ATTEMPTS.parent.mkdir(parents=True, exist_ok=True)
    ATTEMPTS.write_text(json.dumps(attempts, indent=2) + "\n")
    now = config.flat(config.load(config.Train), config.load(config.Augment))
    insert("attempts", render(attempts, {key: str(value) for key, value in now.items()}))


def read_store() -> list[dict[str, Any]]:
    """A row for each attempt that was trained and evaluated."""
    connect()
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(config.load(config.Tracking).experiment)
    runs = client.search_runs([experiment.experiment_id], "tags.attempt != ''") if experiment else []
    return [read_run(client, run) for run in runs if {"val_loss", "test_accuracy"} <= run.data.metrics.keys()]


def read_run(client: mlflow.MlflowClient, run: Run) -> dict[str, Any]:
    metrics = run.data.metrics
    trained = ("train_accuracy", "val_accuracy", "best_train_accuracy", "best_val_accuracy")
    ends = [epoch.timestamp for epoch in client.get_metric_history(run.info.run_id, "val_loss")]
    return {
        "attempt": run.data.tags["attempt"],
        "run_id": run.info.run_id,
        "started": run.info.start_time,
        "params": {k: v for k, v in run.data.params.items() if k.startswith(("train.", "augment."))},
        "accuracy": by_set({k: v for k, v in metrics.items() if k not in trained}, "accuracy"),
        "recognised": by_set(metrics, "recognised"),
        "calibration_error": metrics.get("test_calibration_error"),
        "minutes": minutes(run.info.start_time, ends),
    }


def by_set(metrics: dict[str, float], figure: str) -> dict[str, float]:
    """`SET_figure: value`, as evaluation logs it, to `SET: value`."""
    return {key.removesuffix(f"_{figure}"): value for key, value in metrics.items() if key.endswith(f"_{figure}")}


def minutes(started: int, ends: list[int]) -> float:
    """Of training and validation: epochs times the median epoch, so that a pause before resuming does not count.

    Takes milliseconds, the ends of the epochs in order.
    """
    epochs = [end - begin for begin, end in zip([started, *ends], ends, strict=False)]
    return len(epochs) * median(epochs) / 60_000


def render(attempts: list[dict[str, Any]], now: dict[str, str]) -> str:
    """What differs in an attempt is told against `now`, the params of params.yaml as MLflow writes them."""
    sets = list(dict.fromkeys(name for row in attempts for name in row["accuracy"]))
    strange = list(dict.fromkeys(name for row in attempts for name in row["recognised"]))
    headings = ["attempt", "differs from params.yaml in", *(f"accuracy, {name}" for name in sets)]
    headings += [*(f"recognised as unknown, {name}" for name in strange), "calibration error, test", "minutes"]
    rows = [
        [
            row["attempt"],
            differences(row["params"], now),
            *(percent(row["accuracy"].get(name)) for name in sets),
            *(percent(row["recognised"].get(name)) for name in strange),
            percent(row["calibration_error"]),
            f"{row['minutes']:.0f}",
        ]
        for row in attempts
    ]
    return table(headings, rows) + "\n"


def differences(then: dict[str, str], now: dict[str, str]) -> str:
    """`lr 0.001` for each param of another value, `no recall` for one that the code did not have yet."""
    unlike = [f"`{key.split('.')[1]} {then[key]}`" for key in now if key in then and then[key] != now[key]]
    unlike += [f"no `{key.split('.')[1]}`" for key in now if key not in then]
    return ", ".join(unlike) or "nothing"


if __name__ == "__main__":
    main()
