"""Test training with `torchrun`: processes share each batch and get the result of one process."""

import csv
from pathlib import Path

import pytest
import torch

from tests.training.processes import TORCHRUN, copy_prepared, mlflow_runs, run, train_here
from training import train
from training.distributed import World, join_world
from training.interruption import UserError
from training.model import CHECKPOINT
from training.state import STATE
from training.train import HISTORY

# Each process draws its own augmentation and dropout, and computes batch norm's statistics from its own photos. Without
# them, only the order of adding gradients differs.
DETERMINISTIC = {
    "train__dropout": 0.0,
    "train__freeze_batch_norm": True,
    "augment__crop_scale": [1.0, 1.0],
    "augment__flip": 0.0,
    "augment__rotation": 0.0,
    "augment__brightness": 0.0,
    "augment__contrast": 0.0,
    "augment__gray": 0.0,
    "augment__blur": 0.0,
    "augment__noise": 0.0,
}
TOLERANCE = 1e-4  # measured: 2e-5, where a step of AdamW changes a weight by up to 4e-3


@pytest.fixture(scope="module")
def alone(trained, tmp_path_factory):
    """Return a project that one process trained."""
    folder = copy_prepared(trained, tmp_path_factory.mktemp("alone") / "project", **DETERMINISTIC)
    train_here(folder)
    return folder


@pytest.fixture(scope="module")
def paired(trained, tmp_path_factory):
    """Return the same project, trained by two processes."""
    folder = copy_prepared(trained, tmp_path_factory.mktemp("paired") / "project", **DETERMINISTIC)
    done = run(folder, "-m", *TORCHRUN, "-m", "training.train")
    assert 0 == done.returncode, done.stdout
    return folder


@pytest.fixture(scope="module")
def resumed(trained, tmp_path_factory):
    """Return a project of two processes, one killed with SIGKILL in the second epoch, and of two that resumed it."""
    folder = copy_prepared(trained, tmp_path_factory.mktemp("resumed") / "project", **DETERMINISTIC)
    return folder, run(folder, "-m", "tests.training.kill_pair", "state", "state", *["photo"] * 10)


def weights(folder):
    return torch.load(folder / CHECKPOINT, weights_only=True)["state_dict"]


def history(folder):
    with (folder / HISTORY).open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_processes_get_the_weights_of_one(alone, paired):
    """Two processes with half a batch each get the weights of one process with the whole batch."""
    torch.testing.assert_close(weights(paired), weights(alone), atol=TOLERANCE, rtol=0)


def test_two_processes_get_the_validation_of_one(alone, paired):
    """Each epoch has the same validation metrics."""
    for one, two in zip(history(alone), history(paired), strict=True):
        assert float(one["val_loss"]) == pytest.approx(float(two["val_loss"]), abs=TOLERANCE)
        assert (one["val_accuracy"], one["lr"]) == (two["val_accuracy"], two["lr"])


def test_two_processes_log_one_run(paired):
    """There is one finished run, with the number of processes."""
    [run] = mlflow_runs(paired)
    assert ("FINISHED", "2") == (run.info.status, run.data.params["processes"])


def test_two_processes_write_one_checkpoint(paired):
    """There is one checkpoint, with the names of a single process, and no state."""
    assert ["checkpoint.pt"] == [path.name for path in (paired / "artifacts").glob("*.p*t*")]
    assert [] == [name for name in weights(paired) if name.startswith("module.")]


def test_two_processes_resume(paired, resumed):
    """If one process is killed, all fail; the next pair resumes to the same weights, bit for bit, in one run."""
    folder, done = resumed
    assert 0 == done.returncode, done.stdout
    first, second = done.stdout.split("left: training.pt\n")
    assert "Signal 9 (SIGKILL)" in first
    assert "resuming after epoch 1\n" in second
    expected, measured = weights(paired), weights(folder)
    assert [] == [name for name, tensor in expected.items() if not torch.equal(tensor, measured[name])]
    assert 1 == len(mlflow_runs(folder))


def test_batch_size_must_be_a_multiple_of_processes(trained, tmp_path, monkeypatch):
    """A batch size that processes cannot share evenly is an error with both numbers; no state is written."""
    folder = copy_prepared(trained, tmp_path / "project", train__batch_size=16)
    monkeypatch.setattr(train, "join_world", lambda: World(0, 3, torch.device("cpu")))  # raised before they communicate
    with pytest.raises(UserError, match=r"train\.batch_size is 16; expected a multiple of the 3 processes"):
        train_here(folder)
    assert not (folder / STATE).exists()


def test_more_processes_than_gpus_is_an_error(monkeypatch):
    """The error names both numbers and comes before any communication. The GPU is simulated."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"2 processes on a machine with 1 GPU.*--nproc_per_node=1 at most"):
        join_world()


@pytest.mark.skipif(not Path("/dev/nvidia0").exists(), reason="no GPU")
def test_training_runs_on_a_gpu(trained, tmp_path):
    """On a machine with a GPU, training uses it, and the checkpoint loads on a CPU."""
    folder = copy_prepared(trained, tmp_path / "project", train__bf16=True)
    script = "from training import train; train.main(); import torch; assert torch.cuda.max_memory_allocated()"
    done = run(folder, "-c", script, CUDA_VISIBLE_DEVICES="0")
    assert 0 == done.returncode, done.stdout
    assert all(not tensor.is_cuda for tensor in weights(folder).values())
