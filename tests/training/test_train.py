"""Test training: its outputs, when it stops, and its reproducibility."""

import csv
import json
import pickle
from dataclasses import asdict, replace

import mlflow
import pytest
import torch

from tests.training.processes import copy_prepared
from tests.training.workspace import write_params
from training import config, train
from training.batches import loader
from training.figures import read_figures
from training.interruption import UserError
from training.manifest import MANIFEST, read_manifest
from training.model import CHECKPOINT, load_checkpoint
from training.photo_dataset import Preprocessor, read_split
from training.source import PHOTOS, sha256
from training.state import Progress
from training.train import HISTORY, validate


@pytest.fixture
def in_trained(trained, monkeypatch):
    """Use the trained project as working directory; tests must not change it."""
    monkeypatch.chdir(trained)
    return trained


@pytest.fixture
def retrained(trained, tmp_path, monkeypatch):
    """Return a function that trains logistic regression in a copy of the trained project and returns its history."""
    copy_prepared(trained, tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)

    def retrain(**params):
        write_params(tmp_path, **{"train__architecture": "logistic"} | params)
        train.main()
        return history()

    return retrain


def history():
    with HISTORY.open(newline="") as file:
        return list(csv.DictReader(file))


# --- the checkpoint


def test_checkpoint_has_params_and_provenance(in_trained):
    """The checkpoint has the params, the class names, and the data and code it was trained with."""
    _, checkpoint = load_checkpoint()
    assert asdict(config.load(config.Train)) == checkpoint["train"]
    assert asdict(config.load(config.Augment)) == checkpoint["augment"]
    assert ["cat", "dog"] == checkpoint["class_names"]
    assert sha256(MANIFEST) == checkpoint["data_hash"]
    assert {"git_commit", "run_id", "epoch", "state_dict"} <= set(checkpoint)


def test_metrics_file_describes_the_checkpoint(in_trained):
    """The metrics file has everything in the checkpoint except for the weights, and the best epoch."""
    _, checkpoint = load_checkpoint()
    described = read_figures("train")
    assert json.loads(json.dumps(checkpoint["epoch"])) == described.pop("best")
    assert [PHOTOS.resolve().name] == described.pop("sources")
    assert described == {key: json.loads(json.dumps(checkpoint[key])) for key in described}
    assert {"train", "augment", "class_names", "data_hash", "git_commit", "run_id"} == set(described)


class Intruder:
    """An object that would end the process when unpickled."""

    def __reduce__(self):
        return exit, ("the checkpoint ran code",)


def test_checkpoint_runs_no_code(project):
    """A checkpoint with anything but tensors and plain values is rejected."""
    CHECKPOINT.parent.mkdir()
    torch.save({"state_dict": Intruder()}, CHECKPOINT)
    with pytest.raises(pickle.UnpicklingError):
        load_checkpoint()


def test_checkpoint_has_the_best_epoch(in_trained):
    """The weights are those of the lowest validation loss, and reproduce it."""
    model, checkpoint = load_checkpoint()
    best = min(history(), key=lambda record: float(record["val_loss"]))
    batches = loader(read_split(read_manifest(), "val", Preprocessor(32)), 8, 0)
    assert float(best["epoch"]) == checkpoint["epoch"]["epoch"]
    measured = validate(model, batches)
    assert float(best["val_loss"]) == pytest.approx(measured["val_loss"], rel=1e-4)
    assert float(best["val_accuracy"]) == measured["val_accuracy"]


# --- the run


def test_history_has_a_row_per_epoch(in_trained):
    """Each epoch is a row with speed, learning rate and the metrics of both splits."""
    names = {
        f"{split}_{name}" for split in ("train", "val") for name in ("loss", "accuracy", "precision", "recall", "f1")
    }
    assert {"epoch", "lr", "images_per_second"} | names == set(history()[0])
    assert ["1", "2"] == [record["epoch"] for record in history()]


def test_learning_rate_falls_in_the_last_epoch(in_trained):
    """The head's learning rate is above a tenth of its peak after the first epoch, and below it after the last."""
    lr = config.load(config.Train).lr
    assert [True, False] == [lr / 10 < float(record["lr"]) for record in history()]


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [([1.0], False), ([1.0, 1.0], True), ([1.0, 0.9], False), ([0.9, 1.0], False), ([0.9, 1.0, 1.0], True)],
)
def test_perfect_validation_ends_training(params, accuracies, expected):
    """Training ends after two epochs in a row without a mistake in validation."""
    progress = Progress(history=[{"val_accuracy": accuracy} for accuracy in accuracies], best={"epoch": {"epoch": 1}})
    reason = train.find_stop_reason(progress, replace(params, patience=9, perfect_epochs=2))
    assert expected == (reason is not None and "no mistake in validation for 2 epochs" in reason)


def test_best_epoch_has_the_lowest_loss(retrained, monkeypatch):
    """The best epoch has the lowest validation loss, whatever its accuracy."""
    script = [{"val_loss": loss, "val_accuracy": loss / 4} for loss in (3.0, 1.0, 2.0, 1.5)]
    monkeypatch.setattr(train, "validate", lambda *_: script.pop(0))
    records = retrained(train__epochs=9, train__patience=2)
    assert (4, 2) == (len(records), load_checkpoint()[1]["epoch"]["epoch"])


def test_seed_changes_the_training(retrained):
    """Another seed gives other losses."""
    losses = [retrained(train__epochs=1, train__seed=seed)[0]["train_loss"] for seed in (0, 1)]
    assert losses[0] != losses[1]


def test_repeated_photos_keep_the_number_of_epochs(retrained):
    """Photos that are repeated to 24 steps keep the two epochs, and the network learns far better than chance."""
    records = retrained(train__architecture="simple_cnn", train__epochs=2, train__batch_size=16, train__min_steps=24)
    assert 2 == len(records)
    assert 0.8 < float(records[-1]["val_accuracy"])


def test_warmup_of_one_step_is_skipped(retrained):
    """A warm-up that would end after the first of two steps is skipped."""
    assert 2 == len(retrained(train__epochs=2, train__batch_size=999, train__warmup=0.5))


def test_diverged_training_is_an_error(retrained):
    """A loss that is not finite is an error, and no checkpoint is written."""
    with pytest.raises(UserError, match=r"epoch 1: the validation loss is nan; expected a finite .* train\.lr below"):
        retrained(train__lr=1e38, train__epochs=2)
    assert not CHECKPOINT.exists()


@pytest.mark.parametrize("weights", ["nope.pth", "imagenet.pth"])
def test_missing_weights_stop_training_first(retrained, weights):
    """Missing weights stop training before a run or a checkpoint exists."""
    runs = len(mlflow.search_runs(search_all_experiments=True))
    with pytest.raises(UserError, match=f"train.weights is '{weights}'"):
        retrained(train__architecture="mobilenet_v2", train__weights=weights)
    assert runs == len(mlflow.search_runs(search_all_experiments=True))
    assert not CHECKPOINT.exists()
