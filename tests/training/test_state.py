"""Test that an interrupted training resumes with the result of an uninterrupted one."""

import copy
import ctypes
import pickle
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.training.processes import (
    WITH_FROZEN_HEAD,
    copy_prepared,
    mlflow_runs,
    run_killed,
    train_here,
    write_weights,
)
from tests.training.workspace import write_params
from training import train
from training.manifest import MANIFEST
from training.model import CHECKPOINT, build
from training.state import OLD_STATE, STATE, hash_weights, keep_freed_memory, save_atomically
from training.train import HISTORY

OTHER = f"{STATE} was written with other photos, params, weights, code or number of processes; starting over"
EPOCHS = 3
PARAMS = {"train__epochs": EPOCHS, "train__batch_size": 8}
LOGISTIC = {"train__architecture": "logistic", "train__epochs": 9, "train__patience": 2}
# The events before SIGKILL (see tests/training/kill_after.py), and the number of epochs finished by then. The first
# state, of no epoch, is written before the first photo is read. An epoch reads 48 photos in batches of 8.
MOMENTS = {
    "in the first epoch": (["state"] + ["photo"] * 20, 0),
    "in the second epoch": (["state", "state"] + ["photo"] * 20, 1),
    "right after a state": (["state", "state", "state", "photo"], 2),
    "while a state is written": (["state", "state", "torn state"], 1),
    "before the state is removed": (["end"], EPOCHS),
}


@pytest.fixture(scope="module")
def uninterrupted(trained, tmp_path_factory):
    """Return a project whose training was not interrupted."""
    folder = copy_prepared(trained, tmp_path_factory.mktemp("uninterrupted") / "project", **PARAMS)
    train_here(folder)
    return folder


@pytest.fixture(scope="module")
def killed(trained, tmp_path_factory):
    """Return a project for each moment, and the exit code of the process that trained there."""
    folders = {
        moment: copy_prepared(trained, tmp_path_factory.mktemp("killed") / "project", **PARAMS) for moment in MOMENTS
    }
    codes = run_killed({folder: MOMENTS[moment][0] for moment, folder in folders.items()})
    return {moment: (folder, codes[folder]) for moment, folder in folders.items()}


@pytest.fixture(scope="module", params=MOMENTS)
def resumed(request, killed):
    """Return a training that was killed at that moment and then resumed to its end."""
    folder, code = killed[request.param]
    left = torch.load(folder / STATE, weights_only=True)
    return SimpleNamespace(
        folder=folder, code=code, left=left, epochs=MOMENTS[request.param][1], output=train_here(folder)
    )


def checkpoint(folder):
    return torch.load(folder / CHECKPOINT, weights_only=True)


def history(folder):
    """Return the history without the speed, the only value that may differ."""
    lines = [line.split(",") for line in (folder / HISTORY).read_text().splitlines()]
    speed = lines[0].index("images_per_second")
    return [line[:speed] + line[speed + 1 :] for line in lines]


# --- killed by SIGKILL and resumed


def test_killed_training_leaves_a_complete_state(resumed):
    """A process killed by SIGKILL leaves a complete state of its last finished epoch."""
    assert -signal.SIGKILL == resumed.code, (resumed.folder / "output.txt").read_text()[-2000:]
    assert resumed.epochs == len(resumed.left["progress"]["history"])


def test_resumed_training_repeats_no_epoch(resumed):
    """No finished epoch is trained again."""
    assert f"resuming after epoch {resumed.epochs}\n" in resumed.output
    assert EPOCHS - resumed.epochs == resumed.output.count("epoch ") - 1


def test_resumed_training_has_the_same_weights(resumed, uninterrupted):
    """The weights are those of the uninterrupted training, bit for bit."""
    expected, measured = checkpoint(uninterrupted)["state_dict"], checkpoint(resumed.folder)["state_dict"]
    assert expected.keys() == measured.keys()
    assert [] == [name for name, tensor in expected.items() if not torch.equal(tensor, measured[name])]


def test_resumed_training_has_the_same_history(resumed, uninterrupted):
    """Every metric of every epoch is the same, to the last digit."""
    assert history(uninterrupted) == history(resumed.folder)
    assert checkpoint(uninterrupted)["epoch"]["val_loss"] == checkpoint(resumed.folder)["epoch"]["val_loss"]


def test_resumed_training_is_one_run(resumed):
    """MLflow has one finished run with the metrics of all epochs, and the checkpoint names it."""
    [run] = mlflow_runs(resumed.folder)
    assert ("FINISHED", checkpoint(resumed.folder)["run_id"]) == (run.info.status, run.info.run_id)
    assert {f"best_{name}" for name in ("val_loss", "epoch")} <= run.data.metrics.keys()


def test_finished_training_removes_the_state(resumed):
    """A finished training leaves neither a state nor a partial file."""
    assert ["checkpoint.pt"] == [path.name for path in (resumed.folder / "artifacts").glob("*.p*t*")]


# --- which states are resumed


class PowerCut(Exception):
    pass


def script_losses(losses):
    """Return a validation with these losses, after which it raises PowerCut."""

    def validate(*_):
        if not losses:
            raise PowerCut
        return {"val_loss": losses.pop(0), "val_accuracy": 0.5}

    return validate


@pytest.fixture(scope="module")
def stopped(trained, tmp_path_factory):
    """Return a project whose training was interrupted in epoch 3; epoch 2 was worse than epoch 1."""
    folder = copy_prepared(trained, tmp_path_factory.mktemp("stopped") / "project", **LOGISTIC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "validate", script_losses([1.0, 2.0]))
        with pytest.raises(PowerCut):
            train_here(folder)
    return folder


@pytest.fixture
def interrupted(stopped, tmp_path):
    """Return a copy of the interrupted project."""
    return Path(shutil.copytree(stopped, tmp_path / "project", symlinks=True))


def test_state_with_other_params_is_not_resumed(interrupted, monkeypatch):
    """A state with other params is kept aside, with a message."""
    write_params(interrupted, **LOGISTIC | {"train__lr": 1e-4})
    monkeypatch.setattr(train, "validate", script_losses([1.0, 2.0, 3.0]))
    assert OTHER in train_here(interrupted)
    assert 2 == len(mlflow_runs(interrupted))


def test_state_with_other_photos_is_not_resumed(interrupted, monkeypatch):
    """A state with other photos is kept aside, with a message."""
    lines = (interrupted / MANIFEST).read_text().splitlines(keepends=True)
    (interrupted / MANIFEST).write_text("".join(lines[:-1]))
    monkeypatch.setattr(train, "validate", script_losses([1.0, 2.0, 3.0]))
    assert OTHER in train_here(interrupted)


def test_state_with_other_weights_is_not_resumed(trained, tmp_path, monkeypatch, capsys):
    """A state with other pretrained weights is kept aside, even if the file has the same name."""
    folder = copy_prepared(trained, tmp_path / "project", **WITH_FROZEN_HEAD)
    monkeypatch.setattr(train, "validate", script_losses([]))
    for seed in (0, 1):
        write_weights(folder, seed)
        with pytest.raises(PowerCut):
            train_here(folder)
    assert OTHER in capsys.readouterr().out


def test_state_with_other_code_is_kept_aside(interrupted, monkeypatch):
    """A state that other code wrote is renamed and not changed."""
    monkeypatch.setattr(train, "hash_code", lambda: "newer")
    monkeypatch.setattr(train, "validate", script_losses([0.5] * 9))
    old = (interrupted / STATE).read_bytes()
    assert OTHER in train_here(interrupted)
    assert old == (interrupted / OLD_STATE).read_bytes()


def test_patience_counts_epochs_before_the_interruption(interrupted, monkeypatch):
    """Epoch 3, the second without a lower loss, ends the training, although epoch 2 was before the interruption."""
    monkeypatch.setattr(train, "validate", script_losses([3.0]))
    output = train_here(interrupted)
    assert "resuming after epoch 2\n" in output
    assert "early stop: no better validation loss than 1.0000 for 2 epochs" in output
    assert (4, 1) == (len(history(interrupted)), checkpoint(interrupted)["epoch"]["epoch"])


def test_training_interrupted_after_early_stop_trains_no_epoch(interrupted, monkeypatch):
    """If training is interrupted after its early stop, resuming it trains no further epoch."""
    monkeypatch.setattr(train, "validate", script_losses([3.0]))
    with monkeypatch.context() as patch:
        patch.setattr(train, "write_results", script_losses([]))
        with pytest.raises(PowerCut):
            train_here(interrupted)
    assert "early stop" in train_here(interrupted)
    assert (4, 1) == (len(history(interrupted)), checkpoint(interrupted)["epoch"]["epoch"])


@pytest.mark.parametrize("name", ["training.pt.partial", "checkpoint.pt.partial"])
def test_partial_file_is_ignored(interrupted, monkeypatch, name):
    """A partial file of an interrupted write is not read and does not stop the training."""
    (interrupted / "artifacts" / name).write_bytes(b"PK\3\4 half a file")
    monkeypatch.setattr(train, "validate", script_losses([0.5] * 7))
    assert "resuming after epoch 2\n" in train_here(interrupted)
    assert 3 == checkpoint(interrupted)["epoch"]["epoch"]


# --- helpers


def test_hash_weights_depends_on_every_number():
    """Equal weights have equal hashes; one different number changes the hash."""
    torch.manual_seed(0)
    model = build("simple_cnn", 2)
    before = hash_weights(model)
    assert before == hash_weights(copy.deepcopy(model))
    with torch.no_grad():
        model.head.bias[1] += 1
    assert before != hash_weights(model)


def test_save_atomically_replaces_the_file(tmp_path):
    """Saving replaces the old file and leaves no other file."""
    path = tmp_path / "value.pt"
    for value in (1, 2):
        save_atomically({"value": value}, path)
    assert {"value": 2} == torch.load(path, weights_only=True)
    assert [path] == list(tmp_path.iterdir())


def test_failed_save_keeps_the_old_file(tmp_path):
    """If a value cannot be saved, the old file stays unchanged."""
    path = tmp_path / "value.pt"
    save_atomically(1, path)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_atomically(lambda: None, path)
    assert 1 == torch.load(path, weights_only=True)


def test_keep_freed_memory_without_mallopt_does_nothing(monkeypatch):
    """On a C library without mallopt, it only looks for the function."""
    names = []

    class Library:
        def __getattr__(self, name):
            names.append(name)
            raise AttributeError

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library())
    keep_freed_memory()
    assert ["mallopt"] == names
