"""Test evaluation: metrics, plots, and further sets."""

import csv

import mlflow
import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax

from tests.support.drawing import draw, encode_image, write_dataset
from tests.training.workspace import enter_copy
from training import evaluate
from training.calibration import Calibration, familiarity, fit_class_familiarity, fit_temperature, fit_threshold
from training.evaluate import MISTAKES
from training.figures import PLOTS, read_figures
from training.further_sets import read_unlabeled
from training.interruption import UserError
from training.manifest import read_manifest
from training.metrics import score
from training.model import CHECKPOINT, load_checkpoint
from training.networks import build_timm
from training.photo_dataset import Preprocessor, read_split
from training.predictions import Predictions
from training.source import EXTRA, OUTLIERS


@pytest.fixture
def evaluated(trained, tmp_path, monkeypatch):
    """Return a copy of the trained project that logs to the store of the original."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{trained}/mlflow.db")
    return enter_copy(trained, tmp_path, monkeypatch)


def report():
    return read_figures("evaluate")


def predict_split(split):
    """Return the checkpoint's predictions for a split."""
    model, _ = load_checkpoint()
    return evaluate.predict_photos(model, read_split(read_manifest(), split, Preprocessor(32)), 8)


def test_calibration_is_fitted_on_validation(evaluated):
    """Temperature and threshold come from the validation split."""
    val = predict_split("val")
    threshold = fit_threshold(logsumexp(val.logits, axis=1), 0.01)
    assert fit_temperature(val.logits, val.labels) == pytest.approx(report()["temperature"], rel=1e-3)
    assert threshold == pytest.approx(report()["unknown_threshold"], rel=1e-3)


def test_calibration_is_written_to_its_file(evaluated):
    """The calibration is written for later stages; without a frozen head it has no familiar classes."""
    expected = Calibration(report()["temperature"], (), report()["unknown_threshold"])
    assert expected == Calibration.read()


def test_familiar_classes_come_from_the_training_split(evaluated):
    """With a frozen head, the familiar classes come from the training photos."""
    torch.manual_seed(0)
    network = build_timm("mobilenet_v2_050", 2, dropout=0, frozen_classes=7)
    description = torch.load(CHECKPOINT) | {"train": {"architecture": "mobilenet_v2_050"}}
    torch.save(description | {"state_dict": network.state_dict()}, CHECKPOINT)
    evaluate.main()
    calibration = Calibration.read()
    assert fit_class_familiarity(predict_split("train").frozen_logits) == pytest.approx(calibration.familiar)
    threshold = fit_threshold(familiarity(predict_split("val"), calibration.familiar), 0.01)
    assert threshold == pytest.approx(calibration.unknown_threshold)


def test_report_uses_calibrated_probabilities(evaluated):
    """The metrics of the test split are those of calibrated probabilities."""
    test = predict_split("test")
    expected = score(softmax(test.logits / report()["temperature"], axis=1), test.labels)
    measured = report()["sets"]["test"]
    assert expected["confusion_matrix"] == measured["confusion_matrix"]
    assert expected["log_loss"] == pytest.approx(measured["log_loss"], rel=1e-3)
    assert expected["calibration_error"] == pytest.approx(measured["calibration_error"], rel=1e-3)
    assert expected["accuracy_interval"] == measured["accuracy_interval"]
    unknown = logsumexp(test.logits, axis=1) < report()["unknown_threshold"]
    assert unknown.mean() == measured["unknown_rate"]


def test_predictions_csv_has_the_confusion_matrix(evaluated):
    """The file from which DVC draws the confusion matrix has one row per photo and the same counts."""
    with (PLOTS / "predictions_test.csv").open(newline="") as file:
        pairs = [(row["label"], row["predicted"]) for row in csv.DictReader(file)]
    counts = [[pairs.count((label, predicted)) for predicted in ("cat", "dog")] for label in ("cat", "dog")]
    assert report()["sets"]["test"]["confusion_matrix"] == counts


@pytest.mark.parametrize(
    "picture", [*(PLOTS / f"{kind}_test.png" for kind in ("confusion", "reliability", "roc")), MISTAKES / "test.png"]
)
def test_plots_are_written(evaluated, picture):
    """Each plot is a PNG file."""
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_metrics_are_logged_to_the_training_run(evaluated):
    """MLflow has the test metrics and plots in the run of the training."""
    run_id = load_checkpoint()[1]["run_id"]
    evaluate.log(run_id, report())
    run = mlflow.get_run(run_id)
    assert report()["sets"]["test"]["accuracy"] == run.data.metrics["test_accuracy"]
    assert "val_loss" in run.data.metrics
    client = mlflow.MlflowClient()
    artifacts = {file.path for folder in ("", "plots") for file in client.list_artifacts(run_id, folder)}
    assert {"evaluate.json", "calibration.json"} <= artifacts
    assert {"plots/confusion_test.png", "plots/roc_test.png", "plots/reliability_test.png"} <= artifacts


def test_extra_set_is_scored(evaluated):
    """A set under data/raw/extra/ is scored under its name, for the classes of the network."""
    write_dataset(EXTRA / "zoo", {"cat": 5, "dog": 4, "rabbit": 3})
    evaluate.main()
    measured = report()["sets"]["zoo"]
    assert 9 == measured["photos"]
    assert [5, 4] == np.sum(measured["confusion_matrix"], axis=1).tolist()
    assert (PLOTS / "confusion_zoo.png").exists()


# --- outliers


def test_outlier_set_is_scored(evaluated, capsys):
    """Every photo of a set under data/raw/outliers/ counts, and the share called unknown is reported and logged."""
    (OUTLIERS / "rabbits").mkdir(parents=True)
    for seed in range(6):  # one is in a folder called cat
        path = OUTLIERS / "rabbits" / ("cat" if not seed else "") / f"{seed}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_image(draw("rabbit", seed)))
    evaluate.main()
    measured = report()["outliers"]["rabbits"]
    predictions = evaluate.predict_photos(
        load_checkpoint()[0], read_unlabeled(OUTLIERS / "rabbits", Preprocessor(32)), 8
    )
    unknown = logsumexp(predictions.logits, axis=1) < report()["unknown_threshold"]
    assert {"photos": 6, "unknown_rate": unknown.mean()}.items() <= measured.items()
    assert f'"rabbits_unknown_rate": {measured["unknown_rate"]}' in capsys.readouterr().out
    run = mlflow.get_run(load_checkpoint()[1]["run_id"])
    assert measured["unknown_rate"] == run.data.metrics["rabbits_unknown_rate"]


def frozen_predictions(*classes: int) -> Predictions:
    """Return predictions whose frozen head is certain of these classes, out of two."""
    count = len(classes)
    return Predictions(np.zeros((count, 2)), 50 * np.eye(2)[list(classes)], np.zeros(count, int))


def test_score_outliers_counts_unknown_and_ranks():
    """Two of three are below the threshold; of 12 pairs, 6 are ranked correctly and 5 are ties."""
    test, outliers = frozen_predictions(0, 0, 0, 1), frozen_predictions(1, 1, 0)
    expected = {"photos": 3, "unknown_rate": 2 / 3, "roc_auc": (6 + 5 / 2) / 12}
    assert expected == pytest.approx(evaluate.score_outliers(Calibration(1.0, (0.9, 0.1), 0.5), outliers, test))


@pytest.mark.parametrize("name", ["test", "zoo"])
def test_outlier_set_with_a_taken_name_is_an_error(evaluated, name):
    """Two sets of the same name are an error, since their metrics would share a name."""
    write_dataset(EXTRA / "zoo", {"cat": 5, "dog": 4})
    write_dataset(OUTLIERS / name, {"rabbit": 2})
    with pytest.raises(UserError, match=f"data/raw/outliers/{name} has the name of another set"):
        evaluate.main()


def test_plots_of_removed_sets_are_deleted(evaluated):
    """The plots of a set that is no longer scored are deleted; those of the training stay."""
    for name in ("confusion_gone.png", "predictions_gone.csv", "curves.png"):
        (PLOTS / name).write_bytes(b"unchanged")
    evaluate.main()
    assert [] == list(PLOTS.glob("*_gone.*"))
    assert b"unchanged" == (PLOTS / "curves.png").read_bytes()
