"""Training: what is kept of it, when it stops, and that it can be done again."""

import csv
import pickle
import shutil
from dataclasses import asdict

import mlflow
import pytest
import torch

from tests.training.workspace import MLFLOW_WARNINGS, write_params
from training import config, train
from training.data import Upright, loader, read_manifest, read_split
from training.model import CHECKPOINT, WeightsError, build, load_checkpoint
from training.prepare import MANIFEST
from training.source import sha256
from training.train import CURVES, HISTORY, decay_groups, ema, save_checkpoint, validate

pytestmark = pytest.mark.filterwarnings(*MLFLOW_WARNINGS)


@pytest.fixture
def in_trained(trained, monkeypatch):
    """The trained project as working directory; nothing there may be changed."""
    monkeypatch.chdir(trained)
    return trained


@pytest.fixture
def retrained(trained, tmp_path, monkeypatch):
    """Trains a thumbnail's logistic regression in a copy of the trained project; returns its history."""
    shutil.copytree(trained / "data", tmp_path / "data", symlinks=True)
    (tmp_path / "artifacts").mkdir()
    shutil.copy(trained / MANIFEST, tmp_path / MANIFEST)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{trained}/mlflow.db")
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


def test_checkpoint_describes_itself(in_trained):
    """Beside the weights lie the params, the class names, and what the network was trained with."""
    _, checkpoint = load_checkpoint()
    assert asdict(config.load(config.Train)) == checkpoint["train"]
    assert asdict(config.load(config.Augment)) == checkpoint["augment"]
    assert ["cat", "dog"] == checkpoint["class_names"]
    assert sha256(MANIFEST) == checkpoint["data_hash"]
    assert {"git_commit", "run_id", "epoch", "state_dict"} <= set(checkpoint)


class Intruder:
    """Unpickled, it would end the process."""

    def __reduce__(self):
        return exit, ("the checkpoint ran code",)


def test_checkpoint_runs_no_code(project):
    """A checkpoint is tensors and plain values; one that holds anything else is refused."""
    CHECKPOINT.parent.mkdir()
    torch.save({"state_dict": Intruder()}, CHECKPOINT)
    with pytest.raises(pickle.UnpicklingError):
        load_checkpoint()


def test_checkpoint_rebuilds_the_network(project):
    """The network that comes back computes the same logits, in evaluation mode."""
    CHECKPOINT.parent.mkdir()
    torch.manual_seed(1)
    model = build("simple_cnn", 3, dropout=0.2)
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    model(images)  # batch norm learns its statistics
    about = {"train": {"architecture": "simple_cnn"}, "class_names": ["cat", "dog", "rabbit"]}
    save_checkpoint({"state_dict": model.state_dict()} | about)
    rebuilt, _ = load_checkpoint()
    assert not rebuilt.training
    torch.testing.assert_close(rebuilt(images), model.eval()(images))


def test_checkpoint_is_the_best_epoch(in_trained):
    """The weights are those that scored the lowest validation loss, and score it again."""
    model, checkpoint = load_checkpoint()
    best = min(history(), key=lambda record: float(record["val_loss"]))
    batches = loader(read_split(read_manifest(), "val", Upright(32)), 8, 0, shuffle=False)
    assert float(best["epoch"]) == checkpoint["epoch"]["epoch"]
    measured = validate(model, batches, torch.device("cpu"))
    assert float(best["val_loss"]) == pytest.approx(measured["val_loss"], rel=1e-4)
    assert float(best["val_accuracy"]) == measured["val_accuracy"]


def test_no_half_checkpoint(in_trained):
    """The checkpoint is renamed once it is whole."""
    assert not list(CHECKPOINT.parent.glob("*.partial"))


# --- the run


def test_learns(in_trained):
    """Two epochs of drawings are enough to do far better than chance."""
    assert 0.8 < float(history()[-1]["val_accuracy"])


def test_history(in_trained):
    """Each epoch is a line: speed, rate, and the metrics of both splits."""
    names = {
        f"{split}_{name}" for split in ("train", "val") for name in ("loss", "accuracy", "precision", "recall", "f1")
    }
    assert {"epoch", "lr", "images_per_second"} | names == set(history()[0])
    assert ["1", "2"] == [record["epoch"] for record in history()]


def test_one_cycle(in_trained):
    """The learning rate rises once and falls again: the last epoch ends with less than a tenth of it."""
    assert float(history()[-1]["lr"]) < config.load(config.Train).lr / 10


def test_curves(in_trained):
    """The history is drawn."""
    assert CURVES.read_bytes().startswith(b"\x89PNG")


def test_early_stop(retrained, capsys):
    """Training stops once the validation loss has not improved for `patience` epochs, and keeps the best epoch."""
    swapped = MANIFEST.read_text().replace(",cat,val,", ",?,val,").replace(",dog,val,", ",cat,val,")
    MANIFEST.write_text(swapped.replace(",?,val,", ",dog,val,"))  # the more is learnt, the worse it scores
    records = retrained(train__epochs=9, train__patience=2, train__lr=1e-3)
    assert 3 == len(records)
    assert 1 == load_checkpoint()[1]["epoch"]["epoch"]
    assert "early stop: no better validation loss than" in capsys.readouterr().out


def test_best_epoch(retrained, monkeypatch):
    """The best epoch is the one with the lowest validation loss, whatever its accuracy."""
    script = [{"val_loss": loss, "val_accuracy": loss / 4} for loss in (3.0, 1.0, 2.0, 1.5)]
    monkeypatch.setattr(train, "validate", lambda *_: script.pop(0))
    records = retrained(train__epochs=9, train__patience=2)
    assert (4, 2) == (len(records), load_checkpoint()[1]["epoch"]["epoch"])


def test_reproducible(retrained):
    """The same params, photos and seed are the same losses."""
    losses = [[r["train_loss"] + r["val_loss"] for r in retrained(train__epochs=2)] for _ in range(2)]
    assert losses[0] == losses[1]


def test_seed_matters(retrained):
    """Another seed is another training."""
    losses = [retrained(train__epochs=1, train__seed=seed)[0]["train_loss"] for seed in (0, 1)]
    assert losses[0] != losses[1]


def test_one_step_of_warmup(retrained):
    """A warm-up that is over after the first of two steps is one."""
    assert 2 == len(retrained(train__epochs=2, train__batch_size=999, train__warmup=0.5))


def test_diverged(retrained):
    """A loss that is no number stops training with an error that says so; no checkpoint is made of it."""
    with pytest.raises(SystemExit, match="epoch 1: the validation loss is nan; a lower lr than"):
        retrained(train__lr=1e38, train__epochs=2)
    assert not CHECKPOINT.exists()


@pytest.mark.parametrize("weights", ["nope.pth", "imagenet.pth"])
def test_bad_weights(retrained, weights):
    """Weights that do not exist stop training before there is a run or a checkpoint."""
    runs = len(mlflow.search_runs(search_all_experiments=True))
    with pytest.raises(WeightsError, match=f"train.weights is '{weights}'"):
        retrained(train__architecture="mobilenet_v2", train__weights=weights)
    assert runs == len(mlflow.search_runs(search_all_experiments=True))
    assert not CHECKPOINT.exists()


# --- its parts


def test_weight_decay_spares_vectors():
    """Kernels and matrices decay; biases and the scales of batch norm do not."""
    decayed, spared = decay_groups(build("simple_cnn", 2), 0.02)
    assert (0.02, 0.0) == (decayed["weight_decay"], spared["weight_decay"])
    assert {2, 4} == {p.ndim for p in decayed["params"]}
    assert {1} == {p.ndim for p in spared["params"]}


def test_moving_average():
    """After n steps the average keeps (1 + n) / (10 + n) of itself, and at most `decay`."""
    update, new = ema(0.5), torch.ones(1)
    averages = [torch.zeros(1) for _ in range(3)]
    for average, n in zip(averages, (1, 8, 1000), strict=True):
        update([average], [new], n)
    assert [1 - 2 / 11, 1 - 9 / 18, 0.5] == pytest.approx([float(average) for average in averages])
