"""The report: figures that can be checked, pictures, other sets beside the test split."""

import csv
import json
import shutil

import mlflow
import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from tests.drawing import write_dataset
from tests.training.workspace import MLFLOW_WARNINGS
from training import evaluate
from training.data import Upright, read_manifest, read_split
from training.evaluate import EXTRA, METRICS, MISTAKES, PLOTS
from training.metrics import fit_temperature, fit_unknown_threshold, score
from training.model import load_checkpoint

pytestmark = pytest.mark.filterwarnings(*MLFLOW_WARNINGS)


@pytest.fixture
def evaluated(trained, tmp_path, monkeypatch):
    """A copy of the trained project, which logs to the store of the original."""
    shutil.copytree(trained, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{trained}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report():
    return json.loads(METRICS.read_text())


def scored(split):
    """Logits and labels of a split, from the checkpoint."""
    model, _ = load_checkpoint()
    return evaluate.run(model, read_split(read_manifest(), split, Upright(32)), 8)


def test_fitted_on_validation(evaluated):
    """Temperature and threshold come from the validation split: the test split says nothing before it is scored."""
    logits, labels = scored("val")
    assert fit_temperature(logits, labels) == pytest.approx(report()["temperature"], rel=1e-3)
    assert fit_unknown_threshold(logits, 0.01) == pytest.approx(report()["unknown_threshold"], rel=1e-3)


def test_test_split_as_served(evaluated):
    """The test split's figures are those of calibrated probabilities."""
    logits, labels = scored("test")
    expected = score(softmax(logits / report()["temperature"], axis=1), labels)
    measured = report()["sets"]["test"]
    assert expected["confusion_matrix"] == measured["confusion_matrix"]
    assert expected["log_loss"] == pytest.approx(measured["log_loss"], rel=1e-3)
    unknown = logsumexp(logits, axis=1) < report()["unknown_threshold"]
    assert unknown.mean() == measured["unknown_rate"]


def test_predictions(evaluated):
    """What DVC draws the confusion matrix from is one line a photo, and the same matrix."""
    with (PLOTS / "predictions_test.csv").open(newline="") as file:
        pairs = [(row["label"], row["predicted"]) for row in csv.DictReader(file)]
    counts = [[pairs.count((label, predicted)) for predicted in ("cat", "dog")] for label in ("cat", "dog")]
    assert report()["sets"]["test"]["confusion_matrix"] == counts


@pytest.mark.parametrize(
    "picture", [*(PLOTS / f"{kind}_test.png" for kind in ("confusion", "reliability", "roc")), MISTAKES / "test.png"]
)
def test_pictures(evaluated, picture):
    """There is a picture of the confusion matrix, of reliability, of the ROC curve, and of the worst mistakes."""
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_logged_to_the_run_that_trained(evaluated):
    """MLflow has the test figures and the pictures beside the training's own."""
    run_id = load_checkpoint()[1]["run_id"]
    evaluate.log(run_id, report()["sets"])
    run = mlflow.get_run(run_id)
    assert report()["sets"]["test"]["accuracy"] == run.data.metrics["test_accuracy"]
    assert "val_loss" in run.data.metrics
    artifacts = {file.path for file in mlflow.MlflowClient().list_artifacts(run_id, "plots")}
    assert {"plots/confusion_test.png", "plots/roc_test.png", "plots/reliability_test.png"} <= artifacts


def test_other_sets(evaluated):
    """A set under data/raw/extra/ is scored under its name, by the classes that the network knows."""
    write_dataset(EXTRA / "zoo", {"cat": 5, "dog": 4, "rabbit": 3})
    evaluate.main()
    measured = report()["sets"]["zoo"]
    assert 9 == measured["photos"]
    assert [5, 4] == np.sum(measured["confusion_matrix"], axis=1).tolist()
    assert (PLOTS / "confusion_zoo.png").exists()


@pytest.mark.parametrize("counts", [{"cat": 5}, {"rabbit": 5}], ids=["one class", "none"])
def test_other_set_of_fewer_classes(evaluated, counts, capsys):
    """A set that shows fewer than two of the classes is skipped, and that is said."""
    write_dataset(EXTRA / "cattery", counts)
    evaluate.main()
    assert ["test"] == list(report()["sets"])
    assert "cattery: skipped, it shows fewer than two of the classes cat, dog" in capsys.readouterr().out


def test_hidden_files_are_no_sets(evaluated):
    """What a file manager leaves beside the sets is not opened."""
    (EXTRA / ".DS_Store").write_bytes(b"Bud1")
    evaluate.main()
    assert ["test"] == list(report()["sets"])


def test_other_set_called_test(evaluated):
    """A set called `test` is refused: it would take the place of the test split."""
    write_dataset(EXTRA / "test", {"cat": 5, "dog": 4})
    with pytest.raises(SystemExit, match="data/raw/extra/test"):
        evaluate.main()
