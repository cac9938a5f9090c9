"""A training that is cut off goes on where it was, as if nothing had happened."""

import copy
import ctypes
import pickle
import resource
import signal
from types import SimpleNamespace

import pytest
import torch

from tests.training.processes import (
    EXPERIMENT,
    REMEMBERING,
    copy_prepared,
    mlflow_runs,
    run_cut_off,
    train_here,
    write_weights,
)
from tests.training.workspace import write_params
from training import train
from training.model import CHECKPOINT, build
from training.prepare import MANIFEST
from training.state import OTHERS, STATE, hash_weights, keep_memory, save_atomically
from training.train import HISTORY

OTHER = f"{STATE} is of other photos, params, weights, code or processes; starting anew, it becomes {OTHERS}"
EPOCHS = 3
PARAMS = {"train__epochs": EPOCHS, "train__batch_size": 8}
LOGISTIC = {"train__architecture": "logistic", "train__epochs": 9, "train__patience": 2}
# When SIGKILL comes, as tests/training/cut_off.py counts, and how many epochs are then over. The first state, of no
# epoch, is written before the first photo is read; a training reads 48 photos an epoch, in batches of 8.
MOMENTS = {
    "in the first epoch": (["state"] + ["photo"] * 20, 0),
    "in the second epoch": (["state", "state"] + ["photo"] * 20, 1),
    "right after a state": (["state", "state", "state", "photo"], 2),
    "while a state is written": (["state", "state", "torn"], 1),
    "before the state is removed": (["end"], EPOCHS),
}


@pytest.fixture(scope="module")
def uncut(trained, tmp_path_factory):
    """A project whose training was left alone."""
    folder = copy_prepared(trained, tmp_path_factory.mktemp("uncut") / "project", **PARAMS)
    train_here(folder)
    return folder


@pytest.fixture(scope="module")
def cut_off(trained, tmp_path_factory):
    """For each moment a project, and the exit code of the process that trained there."""
    folders = {
        moment: copy_prepared(trained, tmp_path_factory.mktemp("cut") / "project", **PARAMS) for moment in MOMENTS
    }
    codes = run_cut_off({folder: MOMENTS[moment][0] for moment, folder in folders.items()})
    return {moment: (folder, codes[folder]) for moment, folder in folders.items()}


@pytest.fixture(scope="module", params=MOMENTS)
def resumed(request, cut_off):
    """A training that was cut off at that moment and then ran to its end."""
    folder, code = cut_off[request.param]
    left = torch.load(folder / STATE, weights_only=True)
    return SimpleNamespace(
        folder=folder, code=code, left=left, epochs=MOMENTS[request.param][1], said=train_here(folder)
    )


def checkpoint(folder):
    return torch.load(folder / CHECKPOINT, weights_only=True)


def history(folder):
    """Without the speed, which is the only thing that may differ."""
    lines = [line.split(",") for line in (folder / HISTORY).read_text().splitlines()]
    speed = lines[0].index("images_per_second")
    return [line[:speed] + line[speed + 1 :] for line in lines]


# --- cut off by SIGKILL, and started again


def test_cut_off(resumed):
    """The process died by SIGKILL, and the state it left is whole and of its last finished epoch."""
    assert -signal.SIGKILL == resumed.code, (resumed.folder / "output.txt").read_text()[-2000:]
    assert resumed.epochs == len(resumed.left["progress"]["history"])


def test_resumes(resumed):
    """No finished epoch is trained again."""
    assert f"resuming after epoch {resumed.epochs}\n" in resumed.said
    assert EPOCHS - resumed.epochs == resumed.said.count("epoch ") - 1


def test_same_weights(resumed, uncut):
    """The weights are those of a training that was left alone, bit for bit."""
    expected, measured = checkpoint(uncut)["state_dict"], checkpoint(resumed.folder)["state_dict"]
    assert expected.keys() == measured.keys()
    assert [] == [name for name, tensor in expected.items() if not torch.equal(tensor, measured[name])]


def test_same_history(resumed, uncut):
    """Every figure of every epoch is the same, to the last digit."""
    assert history(uncut) == history(resumed.folder)
    assert checkpoint(uncut)["epoch"]["val_loss"] == checkpoint(resumed.folder)["epoch"]["val_loss"]


def test_one_run(resumed):
    """MLflow knows one run, which is finished and has the figures of all epochs; the checkpoint names it."""
    [run] = mlflow_runs(resumed.folder)
    assert ("FINISHED", checkpoint(resumed.folder)["run_id"]) == (run.info.status, run.info.run_id)
    assert {f"best_{name}" for name in ("val_loss", "epoch")} <= run.data.metrics.keys()


def test_state_is_gone(resumed):
    """A finished training leaves neither state nor half a file."""
    assert ["checkpoint.pt"] == [path.name for path in (resumed.folder / "artifacts").glob("*.p*t*")]


# --- what is resumed, and what is not


class PowerCut(Exception):
    pass


def scripted(losses):
    """Validation losses one after the other; then the power fails."""

    def validate(*_):
        if not losses:
            raise PowerCut
        return {"val_loss": losses.pop(0), "val_accuracy": 0.5}

    return validate


@pytest.fixture
def interrupted(trained, tmp_path, monkeypatch):
    """The project of a training that was cut off in its third epoch, the second being worse than the first."""
    folder = copy_prepared(trained, tmp_path / "project", **LOGISTIC)
    monkeypatch.setattr(train, "validate", scripted([1.0, 2.0]))
    with pytest.raises(PowerCut):
        train_here(folder)
    return folder


def test_other_params(interrupted, monkeypatch):
    """A state of other params is left aside, and training says so."""
    write_params(interrupted, tracking__experiment=EXPERIMENT, **LOGISTIC | {"train__lr": 1e-4})
    monkeypatch.setattr(train, "validate", scripted([1.0, 2.0, 3.0]))
    assert OTHER in train_here(interrupted)
    assert 2 == len(mlflow_runs(interrupted))


def test_other_photos(interrupted, monkeypatch):
    """A state of other photos is left aside, and training says so."""
    lines = (interrupted / MANIFEST).read_text().splitlines(keepends=True)
    (interrupted / MANIFEST).write_text("".join(lines[:-1]))
    monkeypatch.setattr(train, "validate", scripted([1.0, 2.0, 3.0]))
    assert OTHER in train_here(interrupted)


def test_other_weights(trained, tmp_path, monkeypatch, capsys):
    """A state that began with other pretrained weights is left aside, though the file has the same name."""
    folder = copy_prepared(trained, tmp_path / "project", **REMEMBERING)
    monkeypatch.setattr(train, "validate", scripted([]))
    for seed in (0, 1):
        write_weights(folder, seed)
        with pytest.raises(PowerCut):
            train_here(folder)
    assert OTHER in capsys.readouterr().out


def test_other_code(interrupted, monkeypatch):
    """A state that other code left is left aside, and kept."""
    monkeypatch.setattr(train, "hash_code", lambda: "newer")
    monkeypatch.setattr(train, "validate", scripted([0.5] * 9))
    old = (interrupted / STATE).read_bytes()
    assert OTHER in train_here(interrupted)
    assert old == (interrupted / OTHERS).read_bytes()


def test_early_stop(interrupted, monkeypatch):
    """Patience counts the epochs before the cut: the third without a better loss than the first is the last."""
    monkeypatch.setattr(train, "validate", scripted([3.0]))
    said = train_here(interrupted)
    assert "resuming after epoch 2\n" in said
    assert "early stop: no better validation loss than 1.0000 for 2 epochs" in said
    assert (4, 1) == (len(history(interrupted)), checkpoint(interrupted)["epoch"]["epoch"])


def test_after_the_early_stop(interrupted, monkeypatch):
    """Cut off when patience is over, a training that is started again trains no further epoch."""
    monkeypatch.setattr(train, "validate", scripted([3.0]))
    with monkeypatch.context() as patch:
        patch.setattr(train, "finish", scripted([]))
        with pytest.raises(PowerCut):
            train_here(interrupted)
    assert "early stop" in train_here(interrupted)
    assert (4, 1) == (len(history(interrupted)), checkpoint(interrupted)["epoch"]["epoch"])


@pytest.mark.parametrize("name", ["training.partial", "checkpoint.partial"])
def test_torn_file(interrupted, monkeypatch, name):
    """What a cut left half written is neither read nor in the way."""
    (interrupted / "artifacts" / name).write_bytes(b"PK\3\4 half a file")
    monkeypatch.setattr(train, "validate", scripted([0.5] * 7))
    assert "resuming after epoch 2\n" in train_here(interrupted)
    assert 3 == checkpoint(interrupted)["epoch"]["epoch"]


# --- its parts


def test_hash_weights():
    """The same weights have the same fingerprint; one number that differs makes another."""
    torch.manual_seed(0)
    model = build("simple_cnn", 2)
    before = hash_weights(model)
    assert before == hash_weights(copy.deepcopy(model))
    with torch.no_grad():
        model.head.bias[1] += 1
    assert before != hash_weights(model)


def test_saved_whole(tmp_path):
    """What is saved takes the place of what was there, and nothing is left beside it."""
    path = tmp_path / "value.pt"
    for value in (1, 2):
        save_atomically({"value": value}, path)
    assert {"value": 2} == torch.load(path, weights_only=True)
    assert [path] == list(tmp_path.iterdir())


def test_failed_save(tmp_path):
    """What cannot be saved leaves the old file as it was."""
    path = tmp_path / "value.pt"
    save_atomically(1, path)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_atomically(lambda: None, path)
    assert 1 == torch.load(path, weights_only=True)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc has mallopt")
def test_memory_is_kept():
    """Memory that was freed is there without a page fault when it is wanted again."""
    keep_memory()
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.free.argtypes = (ctypes.c_void_p,)

    def faults(size=2**26):  # bytes; above 2**25 glibc would map each block anew
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = library.malloc(ctypes.c_size_t(size))
        ctypes.memset(block, 1, size)
        library.free(block)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults()
    assert 100 > faults()  # of 16,384 pages


def test_memory_of_other_libraries(monkeypatch):
    """A C library without mallopt is left alone."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert keep_memory() is None
