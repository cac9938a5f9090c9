"""Training: what is kept of it, when it stops, and that it can be done again."""

import csv
import json
import pickle
import shutil
from dataclasses import asdict, replace
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from torch.utils.data import DistributedSampler

from tests.training.processes import REMEMBERING, write_weights
from tests.training.workspace import write_params
from training import config, train
from training.data import Upright, loader, read_manifest, read_split
from training.distributed import World
from training.model import CHECKPOINT, WeightsError, build, load_checkpoint
from training.networks import baseline, pretrainable
from training.optimize import ema, forgetting, parameter_groups
from training.prepare import MANIFEST
from training.source import sha256
from training.state import save_atomically
from training.train import CURVES, HISTORY, METRICS, enough, validate


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


def test_told(in_trained):
    """All but the weights is told to people too, with the figures of the best epoch."""
    _, checkpoint = load_checkpoint()
    told = json.loads(METRICS.read_text())
    assert json.loads(json.dumps(checkpoint["epoch"])) == told.pop("best")
    assert told == {key: json.loads(json.dumps(checkpoint[key])) for key in told}
    assert {"train", "augment", "class_names", "data_hash", "git_commit", "run_id"} == set(told)


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
    save_atomically({"state_dict": model.state_dict()} | about, CHECKPOINT)
    rebuilt, _ = load_checkpoint()
    assert not rebuilt.training
    torch.testing.assert_close(rebuilt(images)[0], model.eval()(images)[0])


def test_checkpoint_is_the_best_epoch(in_trained):
    """The weights are those that scored the lowest validation loss, and score it again."""
    model, checkpoint = load_checkpoint()
    best = min(history(), key=lambda record: float(record["val_loss"]))
    batches = loader(read_split(read_manifest(), "val", Upright(32)), 8, 0)
    assert float(best["epoch"]) == checkpoint["epoch"]["epoch"]
    measured = validate(model, batches, World(0, 1, torch.device("cpu")))
    assert float(best["val_loss"]) == pytest.approx(measured["val_loss"], rel=1e-4)
    assert float(best["val_accuracy"]) == measured["val_accuracy"]


def test_no_half_checkpoint(in_trained):
    """The checkpoint is renamed once it is whole."""
    assert not list(CHECKPOINT.parent.glob("*.partial"))


# --- the run


def test_learns(retrained):
    """Four epochs of 48 drawings are enough to do far better than chance."""
    records = retrained(train__architecture="simple_cnn", train__epochs=4, train__batch_size=8)
    assert 0.8 < float(records[-1]["val_accuracy"])


def test_history(in_trained):
    """Each epoch is a line: speed, rate, and the metrics of both splits."""
    names = {
        f"{split}_{name}" for split in ("train", "val") for name in ("loss", "accuracy", "precision", "recall", "f1")
    }
    assert {"epoch", "lr", "images_per_second"} | names == set(history()[0])
    assert ["1", "2"] == [record["epoch"] for record in history()]


def test_one_cycle(in_trained):
    """The head's learning rate rises once and falls again: the last epoch ends with less than a tenth of it."""
    lr = config.load(config.Train).lr
    assert [True, False] == [lr / 10 < float(record["lr"]) for record in history()]


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


@pytest.mark.parametrize(("min_steps", "seen"), [(1, 48), (6, 48), (7, 96), (13, 144)])
def test_few_photos(in_trained, min_steps, seen):
    """48 photos in batches of 16 are six steps in two epochs; for more, an epoch shows them more often."""
    photos = read_split(read_manifest(), "train", Upright(32))
    assert seen == len(enough(photos, replace(config.load(config.Train), epochs=2, min_steps=min_steps)))


@given(st.integers(1, 200), st.integers(1, 64), st.integers(1, 9), st.integers(1, 100))
def test_steps(photos, batch_size, epochs, min_steps):
    """However many photos, and whatever is dropped of the last batch, there are as many steps as are wanted."""
    params = SimpleNamespace(batch_size=batch_size, epochs=epochs, min_steps=min_steps)
    seen = enough(range(photos), params)
    sampler = DistributedSampler(seen, num_replicas=1, rank=0)
    assert min_steps <= epochs * len(loader(seen, batch_size, 0, sampler))


def test_few_photos_are_learnt(retrained):
    """Epochs stay what they are: patience, warm-up and the history count them."""
    records = retrained(train__architecture="simple_cnn", train__epochs=2, train__batch_size=16, train__min_steps=24)
    assert 2 == len(records)
    assert 0.8 < float(records[-1]["val_accuracy"])


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


@pytest.fixture
def params(project):
    return config.load(config.Train)


def test_weight_decay_spares_vectors(params):
    """Kernels and matrices decay; biases and the scales of batch norm do not."""
    groups = parameter_groups(build("simple_cnn", 2), replace(params, weight_decay=0.02))
    assert [0.02, 0.0, 0.02, 0.0] == [group["weight_decay"] for group in groups]
    assert [{4}, {1}, {2}, {1}] == [{p.ndim for p in group["params"]} for group in groups]


def test_body_learns_more_slowly(params):
    """The body has `body_lr` of the head's rate."""
    groups = parameter_groups(build("simple_cnn", 2), replace(params, lr=0.5, body_lr=0.1))
    assert pytest.approx([0.05, 0.05, 0.5, 0.5]) == [group["lr"] for group in groups]


def test_every_parameter_learns_but_the_memory(params):
    """Body and head are in the groups, each parameter once; the memory is in none."""
    network = pretrainable("mobilenet_v2_050", 2, 0.0, remembered=5)
    learning = [p for group in parameter_groups(network, params) for p in group["params"]]
    expected = {name for name, _ in network.named_parameters()} - {"memory.weight", "memory.bias"}
    names = {id(p): name for name, p in network.named_parameters()}
    assert expected == {names[id(p)] for p in learning}
    assert len(expected) == len(learning)


def test_no_empty_group(params):
    """A body without parameters has no group, which the optimiser would refuse."""
    assert [2, 1] == [p.ndim for g in parameter_groups(baseline("logistic", 2, 0), params) for p in g["params"]]


def test_moving_average():
    """After n steps the average keeps (1 + n) / (10 + n) of itself, and at most `decay`."""
    update, new = ema(0.5), torch.ones(1)
    averages = [torch.zeros(1) for _ in range(3)]
    for average, n in zip(averages, (1, 8, 1000), strict=True):
        update([average], [new], n)
    assert [1 - 2 / 11, 1 - 9 / 18, 0.5] == pytest.approx([float(average) for average in averages])


# --- not forgetting


def logits(seed, rows=3, classes=5):
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


def test_nothing_is_forgotten():
    """The loss of recalling what was known is zero, wherever the logits' zero lies."""
    known = logits(0)
    assert pytest.approx(0, abs=1e-6) == float(forgetting(known, known))
    assert pytest.approx(0, abs=1e-6) == float(forgetting(known + 7, known))


@pytest.mark.parametrize("seed", range(1, 5))
def test_something_is_forgotten(seed):
    """The loss of recalling anything else is the divergence at temperature 2, times its square: above zero."""
    known, recalled = logits(0), logits(seed)
    p, q = (np.exp(log_softmax(part.numpy() / 2, axis=1)) for part in (known, recalled))
    assert 4 * (p * np.log(p / q)).sum() / 3 == pytest.approx(float(forgetting(recalled, known)), rel=1e-4)
    assert 0 < float(forgetting(recalled, known))


def test_pulls_towards_what_was_known():
    """Down its gradient the probabilities move towards those of the teacher, until they are the same."""
    known, recalled = logits(0), logits(1).requires_grad_()
    losses = []
    for _ in range(200):
        loss = forgetting(recalled, known)
        losses.append(float(loss.detach()))
        [gradient] = torch.autograd.grad(loss, recalled)
        recalled = (recalled - gradient).detach().requires_grad_()
    assert sorted(losses, reverse=True)[:50] == losses[:50]
    torch.testing.assert_close(recalled.softmax(1), known.softmax(1), atol=1e-2, rtol=0)


@pytest.fixture
def remembering(retrained, tmp_path):
    """Trains a network with a memory; returns it, and how much it forgot of the validation photos."""
    write_weights(tmp_path)
    before = build("mobilenet_v2_050", 2, weights="imagenet").eval()

    def retrain(recall):
        retrained(**REMEMBERING | {"train__recall": recall, "train__epochs": 3, "train__batch_size": 8})
        network, _ = load_checkpoint()
        [(images, _)] = loader(read_split(read_manifest(), "val", Upright(32)), 99, 0)
        with torch.inference_mode():
            return before, network, float(forgetting(network(images)[1], before(images)[1]))

    return retrain


def test_memory_stays(remembering):
    """Body and head learn; the memory comes out of training as it went in, and so do frozen batch norms."""
    before, after, _ = remembering(1.0)
    old, new = before.state_dict(), after.state_dict()
    same = {name for name in old if torch.equal(old[name], new[name])}
    frozen = {"memory.weight", "memory.bias"} | {name for name in old if "running_" in name or "num_batches" in name}
    assert frozen == same


def test_recall(remembering):
    """Told to recall, a network forgets less than half of what it forgets when it is left to itself (`recall: 0`)."""
    forgotten = {recall: remembering(recall)[2] for recall in (0.0, 10.0)}
    assert forgotten[10.0] < forgotten[0.0] / 2, forgotten
