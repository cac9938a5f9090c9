"""The table of attempts: what MLflow knows of each, what is kept of it, and how it reads."""

import json

import mlflow
import pytest

from tests.mlflow_stores import write_store
from training.tools import attempts
from training.tools.attempts import ATTEMPTS, differences, minutes
from training.tools.results_page import RESULTS

METRICS = {
    "train_accuracy": 0.9,
    "val_accuracy": 0.8,
    "best_val_accuracy": 0.8,
    "test_accuracy": 0.75,
    "shelter_accuracy": 0.5,
    "furniture_recognised": 0.25,
    "test_calibration_error": 0.0125,
}


@pytest.fixture
def store(project, monkeypatch):
    """An empty MLflow store, and the page with an empty table; returns what logs a run with these tags."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", write_store(project))
    RESULTS.parent.mkdir()
    RESULTS.write_text("before\n<!-- attempts -->\n<!-- /attempts -->\nafter\n")

    def log(tags, params=None, metrics=METRICS):
        attempts.connect()
        mlflow.set_experiment("pet-classifier")
        with mlflow.start_run(tags=tags):
            mlflow.log_params(params or {"train.lr": 0.5})
            mlflow.log_metrics(metrics)
            for epoch in (1, 2):
                mlflow.log_metric("val_loss", 0.1, step=epoch)

    return log


def test_tagged_runs_become_rows(store):
    """A run that says what was tried is a row with its accuracy on each set; a run that does not say it is none."""
    store({"attempt": "higher lr"})
    store({"baseline": "logistic"})
    attempts.main()
    line = next(line for line in RESULTS.read_text().splitlines() if line.startswith("| higher lr"))
    assert ["75.00 %", "50.00 %", "25.00 %", "1.25 %"] == [cell for cell in line.split(" | ") if "%" in cell]
    assert 1 == len(json.loads(ATTEMPTS.read_text()))


def test_a_run_that_was_never_evaluated_is_no_attempt(store):
    """A training that was given up has nothing to compare."""
    store({"attempt": "given up"}, metrics={"val_accuracy": 0.8})
    attempts.main()
    assert [] == json.loads(ATTEMPTS.read_text())


def test_rows_outlive_the_store(store, project, monkeypatch):
    """With another store, where they never were, the table is made from the JSON and is the same."""
    store({"attempt": "higher lr"})
    attempts.main()
    page = RESULTS.read_text()
    assert "| higher lr |" in page
    (project / "another").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", write_store(project / "another"))
    attempts.main()
    assert page == RESULTS.read_text()


def test_page_without_markers_is_an_error(store):
    """What stands around the table is never overwritten, so its place must be marked."""
    RESULTS.write_text("no table\n")
    with pytest.raises(SystemExit, match="has no <!-- attempts -->"):
        attempts.main()


def test_differences_are_told_against_params_of_today():
    """Other values, and params that did not exist then; what is the same, or exists no more, is not told."""
    then = {"train.lr": "0.5", "train.seed": "0", "train.bygone": "1"}
    now = {"train.lr": "0.1", "train.seed": "0", "train.recall": "1.0"}
    assert "`lr 0.5`, no `recall`" == differences(then, now)
    assert "nothing" == differences(now, now)


def test_a_pause_does_not_count_as_training():
    """Three epochs of two minutes, with a night between the second and the third, took six minutes."""
    assert 6 == minutes(0, [120_000, 240_000, 30_000_000])
