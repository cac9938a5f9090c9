"""`torchrun` shares each batch among processes, and the result is that of one process."""

import csv
from pathlib import Path

import pytest
import torch

from tests.training.processes import TORCHRUN, copy_prepared, mlflow_runs, run, train_here
from training import train
from training.distributed import World, join
from training.model import CHECKPOINT
from training.state import STATE
from training.train import HISTORY

# Each process draws its own augmentation and dropout, and takes batch norm's statistics of its own photos; without
# them, only the order in which gradients are added differs.
CALM = {
    "train__dropout": 0.0,
    "train__freeze_batch_norm": True,
    "augment__crop_scale": [1.0, 1.0],
    "augment__flip": 0.0,
    "augment__rotation": 0.0,
    "augment__brightness": 0.0,
    "augment__contrast": 0.0,
    "augment__grey": 0.0,
    "augment__blur": 0.0,
    "augment__noise": 0.0,
}
NOISE = 1e-4  # measured: 2e-5, on weights that each step of AdamW moves by up to 4e-3


@pytest.fixture(scope="module")
def alone(trained, tmp_path_factory):
    """A project that one process trained."""
    folder = copy_prepared(trained, tmp_path_factory.mktemp("alone") / "project", **CALM)
    train_here(folder)
    return folder


@pytest.fixture(scope="module")
def paired(trained, tmp_path_factory):
    """The same, of two processes."""
    folder = copy_prepared(trained, tmp_path_factory.mktemp("paired") / "project", **CALM)
    done = run(folder, "-m", *TORCHRUN, "-m", "training.train")
    assert 0 == done.returncode, done.stdout
    return folder


@pytest.fixture(scope="module")
def resumed(trained, tmp_path_factory):
    """Two processes, of which SIGKILL takes the first in the second epoch, and two that go on; what each pair said."""
    folder = copy_prepared(trained, tmp_path_factory.mktemp("resumed") / "project", **CALM)
    first = run(folder, "-m", *TORCHRUN, "-m", "tests.training.cut_off", "state", "state", *["photo"] * 10)
    assert ["training.pt"] == [path.name for path in (folder / "artifacts").glob("*.p*t*")], first.stdout
    return folder, (first, run(folder, "-m", *TORCHRUN, "-m", "training.train"))


def weights(folder):
    return torch.load(folder / CHECKPOINT, weights_only=True)["state_dict"]


def history(folder):
    with (folder / HISTORY).open(newline="") as file:
        return list(csv.DictReader(file))


def test_same_weights(alone, paired):
    """Two processes with half a batch each come to the weights of one with the whole."""
    torch.testing.assert_close(weights(paired), weights(alone), atol=NOISE, rtol=0)


def test_same_validation(alone, paired):
    """Each epoch scores the same on the validation split."""
    for one, two in zip(history(alone), history(paired), strict=True):
        assert float(one["val_loss"]) == pytest.approx(float(two["val_loss"]), abs=NOISE)
        assert (one["val_accuracy"], one["lr"]) == (two["val_accuracy"], two["lr"])


def test_one_run(paired):
    """One run, which is finished, and says how many processes there were."""
    [run] = mlflow_runs(paired)
    assert ("FINISHED", "2") == (run.info.status, run.data.params["processes"])


def test_one_checkpoint(paired):
    """One checkpoint, of one process's names, and no state."""
    assert ["checkpoint.pt"] == [path.name for path in (paired / "artifacts").glob("*.p*t*")]
    assert [] == [name for name in weights(paired) if name.startswith("module.")]


def test_resumes(paired, resumed):
    """Where one process dies, all end with an error; the next go on to the same weights, bit for bit, in one run."""
    folder, (first, second) = resumed
    assert "Signal 9 (SIGKILL)" in first.stdout
    assert (1, 0) == (first.returncode, second.returncode), second.stdout
    assert "resuming after epoch 1\n" in second.stdout
    expected, measured = weights(paired), weights(folder)
    assert [] == [name for name, tensor in expected.items() if not torch.equal(tensor, measured[name])]
    assert 1 == len(mlflow_runs(folder))


def test_uneven_batch(trained, tmp_path, monkeypatch):
    """A batch that the processes cannot share evenly is an error that says both numbers; nothing is left behind."""
    folder = copy_prepared(trained, tmp_path / "project", train__batch_size=16)
    monkeypatch.setattr(train, "join", lambda: World(0, 3, torch.device("cpu")))  # said before they first talk
    with pytest.raises(SystemExit, match=r"train\.batch_size is 16; expected a multiple of the 3 processes"):
        train_here(folder)
    assert not (folder / STATE).exists()


def test_more_processes_than_gpus(monkeypatch):
    """It is an error that says both numbers, before anything is waited for. The GPU is a pretended one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(SystemExit, match=r"2 processes on a machine with 1 GPU.*--nproc_per_node=1 at most"):
        join()


@pytest.mark.skipif(not Path("/dev/nvidia0").exists(), reason="no GPU")
def test_gpu(trained, tmp_path):
    """On a machine with a GPU training runs there unchanged, and its checkpoint is read on a CPU."""
    folder = copy_prepared(trained, tmp_path / "project", train__bf16=True)
    script = "from training import train; train.main(); import torch; assert torch.cuda.max_memory_allocated()"
    done = run(folder, "-c", script, CUDA_VISIBLE_DEVICES="0")
    assert 0 == done.returncode, done.stdout
    assert all(not tensor.is_cuda for tensor in weights(folder).values())


def test_alone(monkeypatch):
    """Without `torchrun` a process leads a world of one, which has nobody to tell anything or to wait for."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    world = join()
    assert (0, 1, True) == (world.rank, world.size, world.leads)
    assert "a word" == world.share("a word")
    world.wait()
    world.leave()
