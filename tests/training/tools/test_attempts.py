"""Test the table of attempts: rows from MLflow, rows on file, and the rendering."""

import mlflow
import pytest

from tests.support.mlflow_stores import write_store
from training.figures import read_figures
from training.tools import attempts
from training.tools.attempts import training_minutes
from training.tools.results_page import describe_differences, render_attempts

METRICS = {
    "train_accuracy": 0.9,
    "val_accuracy": 0.8,
    "best_val_accuracy": 0.8,
    "test_accuracy": 0.75,
    "shelter_accuracy": 0.5,
    "test_unknown_rate": 0.01,
    "furniture_unknown_rate": 0.25,
    "test_calibration_error": 0.0125,
}


@pytest.fixture
def log_run(project, monkeypatch):
    """Return a function that logs a run with tags to an empty store."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", write_store(project))

    def log(tags, params=None, metrics=METRICS):
        mlflow.set_experiment("pet-classifier")
        with mlflow.start_run(tags=tags):
            mlflow.log_params(params or {"train.lr": 0.5})
            mlflow.log_metrics(metrics)
            for epoch in (1, 2):
                mlflow.log_metric("val_loss", 0.1, step=epoch)

    return log


def test_tagged_run_becomes_a_row(log_run):
    """A run with the tag `attempt` is a row with its accuracy on each set; other runs are not."""
    log_run({"attempt": "higher lr"})
    log_run({"baseline": "logistic"})
    attempts.main()
    [*_, line] = render_attempts(read_figures("attempts")).splitlines()
    assert ["75.00 %", "50.00 %", "25.00 %", "1.25 %"] == [cell for cell in line.split(" | ") if "%" in cell]
    assert 1 == len(read_figures("attempts"))


def test_run_with_the_old_name_of_the_unknown_rate_is_read(log_run):
    """Runs of versions up to 0.2 logged the unknown rate of outliers under another name."""
    metrics = {name.replace("furniture_unknown_rate", "furniture_recognised"): value for name, value in METRICS.items()}
    log_run({"attempt": "old"}, metrics=metrics)
    attempts.main()
    assert [{"furniture": 0.25}] == [row["unknown_rate"] for row in read_figures("attempts")]


def test_run_without_evaluation_is_not_an_attempt(log_run):
    """A run without an evaluation is not listed."""
    log_run({"attempt": "interrupted"}, metrics={"val_accuracy": 0.8})
    attempts.main()
    assert [] == read_figures("attempts")


def test_rows_survive_the_loss_of_the_store(log_run, project, monkeypatch):
    """With another store, the rows on file are kept."""
    log_run({"attempt": "higher lr"})
    attempts.main()
    [row] = read_figures("attempts")
    (project / "another").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", write_store(project / "another"))
    attempts.main()
    assert [row] == read_figures("attempts")


def test_differences_are_relative_to_current_params():
    """The differences are changed values and params that did not exist; removed params are ignored."""
    params = {"train.lr": "0.5", "train.seed": "0", "train.removed": "1"}
    current = {"train.lr": "0.1", "train.seed": "0", "train.distillation_weight": "1.0"}
    assert "`lr 0.5`, no `distillation_weight`" == describe_differences(params, current)
    assert "nothing" == describe_differences(current, current)


@pytest.mark.parametrize(("value", "expected"), [("False", "nothing"), ("True", "no `balance_classes`")])
def test_params_without_effect_are_no_differences(value, expected):
    """A param is listed only if its value of today would have changed the attempt."""
    current = {"train.lr": "0.5", "train.min_steps": "200", "train.perfect_epochs": "2", "train.balance_classes": value}
    assert expected == describe_differences({"train.lr": "0.5"}, current)
    assert expected == describe_differences({"train.lr": "0.5", "train.min_steps": "100"}, current)


def test_training_minutes_ignore_a_pause():
    """Three epochs of two minutes, with a night between two of them, are six minutes."""
    assert 6 == training_minutes(0, [120_000, 240_000, 30_000_000])
