"""The report: figures that can be checked, pictures, other sets beside the test split."""

import csv
import json
import shutil

import mlflow
import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax

from tests.drawing import draw, encode, write_dataset
from training import evaluate
from training.calibration import Calibration, familiarity, fit_familiar, fit_temperature, fit_threshold
from training.data import Upright, read_manifest, read_split, read_unlabelled
from training.evaluate import METRICS, MISTAKES, PLOTS
from training.metrics import score
from training.model import CHECKPOINT, Scored, load_checkpoint
from training.networks import pretrainable
from training.source import EXTRA, OUTLIERS


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
    """What the network of the checkpoint says of a split."""
    model, _ = load_checkpoint()
    return evaluate.run(model, read_split(read_manifest(), split, Upright(32)), 8)


def test_fitted_on_validation(evaluated):
    """Temperature and threshold come from the validation split: the test split says nothing before it is scored."""
    val = scored("val")
    threshold = fit_threshold(logsumexp(val.logits, axis=1), 0.01)
    assert fit_temperature(val.logits, val.labels) == pytest.approx(report()["temperature"], rel=1e-3)
    assert threshold == pytest.approx(report()["unknown_threshold"], rel=1e-3)


def test_calibration_is_written(evaluated):
    """What was fitted lies in a file of its own, for the stages that come; without a memory nothing is familiar."""
    expected = Calibration(report()["temperature"], (), report()["unknown_threshold"])
    assert expected == Calibration.read()


def test_familiar_from_the_training_split(evaluated):
    """With a memory, what is familiar is what the training photos look like."""
    torch.manual_seed(0)
    network = pretrainable("mobilenet_v2_050", 2, dropout=0, remembered=7)
    about = torch.load(CHECKPOINT) | {"train": {"architecture": "mobilenet_v2_050"}}
    torch.save(about | {"state_dict": network.state_dict()}, CHECKPOINT)
    evaluate.main()
    calibration = Calibration.read()
    assert fit_familiar(scored("train").recalled) == pytest.approx(calibration.familiar)
    threshold = fit_threshold(familiarity(scored("val"), calibration.familiar), 0.01)
    assert threshold == pytest.approx(calibration.unknown_threshold)


def test_test_split_as_served(evaluated):
    """The test split's figures are those of calibrated probabilities."""
    test = scored("test")
    expected = score(softmax(test.logits / report()["temperature"], axis=1), test.labels)
    measured = report()["sets"]["test"]
    assert expected["confusion_matrix"] == measured["confusion_matrix"]
    assert expected["log_loss"] == pytest.approx(measured["log_loss"], rel=1e-3)
    assert expected["calibration_error"] == pytest.approx(measured["calibration_error"], rel=1e-3)
    assert expected["accuracy_interval"] == measured["accuracy_interval"]
    unknown = logsumexp(test.logits, axis=1) < report()["unknown_threshold"]
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
    evaluate.log(run_id, report())
    run = mlflow.get_run(run_id)
    assert report()["sets"]["test"]["accuracy"] == run.data.metrics["test_accuracy"]
    assert "val_loss" in run.data.metrics
    client = mlflow.MlflowClient()
    artifacts = {file.path for folder in ("", "plots") for file in client.list_artifacts(run_id, folder)}
    assert {"evaluate.json", "calibration.json"} <= artifacts
    assert {"plots/confusion_test.png", "plots/roc_test.png", "plots/reliability_test.png"} <= artifacts


def test_other_sets(evaluated):
    """A set under data/raw/extra/ is scored under its name, by the classes that the network knows."""
    write_dataset(EXTRA / "zoo", {"cat": 5, "dog": 4, "rabbit": 3})
    evaluate.main()
    measured = report()["sets"]["zoo"]
    assert 9 == measured["photos"]
    assert [5, 4] == np.sum(measured["confusion_matrix"], axis=1).tolist()
    assert (PLOTS / "confusion_zoo.png").exists()


# --- sets that show none of the classes


def test_outliers_are_scored(evaluated, capsys):
    """Every photo of a set under data/raw/outliers/ counts: how many are called unknown, how well they stand apart."""
    (OUTLIERS / "rabbits").mkdir(parents=True)
    for seed in range(6):  # one is called a cat by its folder
        path = OUTLIERS / "rabbits" / ("cat" if not seed else "") / f"{seed}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(draw("rabbit", seed)))
    evaluate.main()
    measured = report()["outliers"]["rabbits"]
    answers = evaluate.run(load_checkpoint()[0], read_unlabelled(OUTLIERS / "rabbits", Upright(32)), 8)
    unknown = logsumexp(answers.logits, axis=1) < report()["unknown_threshold"]
    assert {"photos": 6, "recognised": unknown.mean()}.items() <= measured.items()
    assert f'"rabbits_recognised": {measured["recognised"]}' in capsys.readouterr().out
    run = mlflow.get_run(load_checkpoint()[1]["run_id"])
    assert measured["recognised"] == run.data.metrics["rabbits_recognised"]


def recalled(*classes: int) -> Scored:
    """Photos that look like that one of two remembered classes, for certain."""
    count = len(classes)
    return Scored(np.zeros((count, 2)), 50 * np.eye(2)[list(classes)], np.zeros(count, int))


def test_score_outliers():
    """Two of three are below the threshold; of the 12 pairs with ours, 6 are ranked rightly and 5 are ties."""
    ours, strange = recalled(0, 0, 0, 1), recalled(1, 1, 0)
    expected = {"photos": 3, "recognised": 2 / 3, "roc_auc": (6 + 5 / 2) / 12}
    assert expected == pytest.approx(evaluate.score_outliers(Calibration(1.0, (0.9, 0.1), 0.5), strange, ours))


def test_outliers_without_a_photo(evaluated, capsys):
    """A set that holds no readable photo is skipped, and that is said."""
    (OUTLIERS / "nothing").mkdir(parents=True)
    (OUTLIERS / "nothing/broken.jpg").write_bytes(b"no")
    evaluate.main()
    assert {} == report()["outliers"]
    assert "nothing: skipped, it holds no readable photo" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["test", "zoo"])
def test_outliers_with_the_name_of_another_set(evaluated, name):
    """Two sets of one name are refused: their figures would be one."""
    write_dataset(EXTRA / "zoo", {"cat": 5, "dog": 4})
    write_dataset(OUTLIERS / name, {"rabbit": 2})
    with pytest.raises(SystemExit, match=f"data/raw/outliers/{name} has the name of another set"):
        evaluate.main()


# --- sets that are not scored


@pytest.mark.parametrize("counts", [{"cat": 5}, {"rabbit": 5}], ids=["one class", "none"])
def test_other_set_of_fewer_classes(evaluated, counts, capsys):
    """A set that shows fewer than two of the classes is skipped, and that is said."""
    write_dataset(EXTRA / "cattery", counts)
    evaluate.main()
    assert ["test"] == list(report()["sets"])
    assert "cattery: skipped, it shows fewer than two of the classes cat, dog" in capsys.readouterr().out


def test_hidden_files_are_no_sets(evaluated):
    """What a file manager leaves beside the sets is not opened."""
    for folder in (EXTRA, OUTLIERS):
        folder.mkdir(exist_ok=True)
        (folder / ".DS_Store").write_bytes(b"Bud1")
    evaluate.main()
    assert (["test"], {}) == (list(report()["sets"]), report()["outliers"])


def test_other_set_called_test(evaluated):
    """A set called `test` is refused: it would take the place of the test split."""
    write_dataset(EXTRA / "test", {"cat": 5, "dog": 4})
    with pytest.raises(SystemExit, match="data/raw/extra/test"):
        evaluate.main()


def test_set_that_is_gone(evaluated):
    """The pictures of a set that is no longer scored go; those of the training stay."""
    for name in ("confusion_gone.png", "predictions_gone.csv", "curves.png"):
        (PLOTS / name).write_bytes(b"as it was")
    evaluate.main()
    assert [] == list(PLOTS.glob("*_gone.*"))
    assert b"as it was" == (PLOTS / "curves.png").read_bytes()
