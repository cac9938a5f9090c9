"""Training: its outputs, when it stops, and its reproducibility."""

import csv
import json
import pickle
import shutil
from contextlib import chdir
from dataclasses import asdict, replace
from functools import cache
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax
from torch.utils.data import ConcatDataset, DistributedSampler

from tests.training.processes import WITH_FROZEN_HEAD, copy_prepared, train_here, write_weights
from tests.training.workspace import write_params
from training import config, train
from training.batches import loader
from training.distributed import World
from training.figures import read_figures
from training.interruption import UserError
from training.manifest import MANIFEST, read_manifest
from training.model import CHECKPOINT, build, load_checkpoint
from training.networks import build_baseline, build_timm
from training.optimize import distillation_loss, ema_update, parameter_groups
from training.photo_dataset import Preprocessor, read_split
from training.sampling import repeat_photos, shard
from training.source import PHOTOS, sha256
from training.state import Progress
from training.train import CURVES, HISTORY, validate


@pytest.fixture
def in_trained(trained, monkeypatch):
    """Use the trained project as working directory; tests must not change it."""
    monkeypatch.chdir(trained)
    return trained


@pytest.fixture
def retrained(trained, tmp_path, monkeypatch):
    """Return a function that trains logistic regression in a copy of the trained project and returns its history."""
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


def test_training_learns(retrained):
    """Four epochs of 48 drawings suffice to be far better than chance."""
    records = retrained(train__architecture="simple_cnn", train__epochs=4, train__batch_size=8)
    assert 0.8 < float(records[-1]["val_accuracy"])


def test_history_has_a_row_per_epoch(in_trained):
    """Each epoch is a row with speed, learning rate and the metrics of both splits."""
    names = {
        f"{split}_{name}" for split in ("train", "val") for name in ("loss", "accuracy", "precision", "recall", "f1")
    }
    assert {"epoch", "lr", "images_per_second"} | names == set(history()[0])
    assert ["1", "2"] == [record["epoch"] for record in history()]


def test_learning_rate_rises_and_falls(in_trained):
    """The head's learning rate rises once and falls below a tenth of the peak in the last epoch."""
    lr = config.load(config.Train).lr
    assert [True, False] == [lr / 10 < float(record["lr"]) for record in history()]


def test_curves_are_drawn(in_trained):
    """The history is plotted."""
    assert CURVES.read_bytes().startswith(b"\x89PNG")


def test_training_stops_early(retrained, capsys):
    """Training stops after `patience` epochs without a lower validation loss, and keeps the best epoch."""
    swapped = MANIFEST.read_text().replace(",cat,val,", ",?,val,").replace(",dog,val,", ",cat,val,")
    MANIFEST.write_text(swapped.replace(",?,val,", ",dog,val,"))  # learning then raises the validation loss
    records = retrained(train__epochs=9, train__patience=2, train__lr=1e-3)
    assert 3 == len(records)
    assert 1 == load_checkpoint()[1]["epoch"]["epoch"]
    assert "early stop: no better validation loss than" in capsys.readouterr().out


def test_best_epoch_has_the_lowest_loss(retrained, monkeypatch):
    """The best epoch has the lowest validation loss, whatever its accuracy."""
    script = [{"val_loss": loss, "val_accuracy": loss / 4} for loss in (3.0, 1.0, 2.0, 1.5)]
    monkeypatch.setattr(train, "validate", lambda *_: script.pop(0))
    records = retrained(train__epochs=9, train__patience=2)
    assert (4, 2) == (len(records), load_checkpoint()[1]["epoch"]["epoch"])


def test_training_is_reproducible(retrained):
    """The same params, photos and seed give the same losses."""
    losses = [[r["train_loss"] + r["val_loss"] for r in retrained(train__epochs=2)] for _ in range(2)]
    assert losses[0] == losses[1]


def test_seed_changes_the_training(retrained):
    """Another seed gives other losses."""
    losses = [retrained(train__epochs=1, train__seed=seed)[0]["train_loss"] for seed in (0, 1)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize(("min_steps", "seen"), [(1, 48), (6, 48), (7, 96), (13, 144)])
def test_few_photos_are_repeated(in_trained, min_steps, seen):
    """48 photos in batches of 16 are six steps in two epochs; for more steps, an epoch repeats them."""
    photos = read_split(read_manifest(), "train", Preprocessor(32))
    assert seen == len(repeat_photos(photos, replace(config.load(config.Train), epochs=2, min_steps=min_steps)))


@given(st.integers(1, 200), st.integers(1, 64), st.integers(1, 9), st.integers(1, 100))
def test_repeated_photos_reach_min_steps(photos, batch_size, epochs, min_steps):
    """For any number of photos and any dropped remainder, there are at least `min_steps` steps."""
    params = SimpleNamespace(batch_size=batch_size, epochs=epochs, min_steps=min_steps)
    seen = repeat_photos(range(photos), params)
    sampler = DistributedSampler(seen, num_replicas=1, rank=0)
    assert min_steps <= epochs * len(loader(seen, batch_size, 0, sampler))


def test_repeated_photos_keep_the_number_of_epochs(retrained):
    """Repeating photos does not change the number of epochs."""
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


# --- parts


@pytest.fixture
def params(project):
    return config.load(config.Train)


def test_weight_decay_spares_vectors(params):
    """Kernels and matrices decay; biases and the scales of batch norm do not."""
    groups = parameter_groups(build("simple_cnn", 2), replace(params, weight_decay=0.02))
    assert [0.02, 0.0, 0.02, 0.0] == [group["weight_decay"] for group in groups]
    assert [{4}, {1}, {2}, {1}] == [{p.ndim for p in group["params"]} for group in groups]


def test_body_has_its_own_learning_rate(params):
    """The body has `body_lr` of the head's rate."""
    groups = parameter_groups(build("simple_cnn", 2), replace(params, lr=0.5, body_lr=0.1))
    assert pytest.approx([0.05, 0.05, 0.5, 0.5]) == [group["lr"] for group in groups]


def test_parameter_groups_omit_the_frozen_head(params):
    """Each parameter of body and head is in one group; the frozen head is in none."""
    network = build_timm("mobilenet_v2_050", 2, 0.0, frozen_classes=5)
    learning = [p for group in parameter_groups(network, params) for p in group["params"]]
    expected = {name for name, _ in network.named_parameters()} - {"frozen_head.weight", "frozen_head.bias"}
    names = {id(p): name for name, p in network.named_parameters()}
    assert expected == {names[id(p)] for p in learning}
    assert len(expected) == len(learning)


def test_parameter_groups_are_not_empty(params):
    """A body without parameters has no group, since the optimizer would reject it."""
    assert [2, 1] == [p.ndim for g in parameter_groups(build_baseline("logistic", 2, 0), params) for p in g["params"]]


def test_moving_average_has_a_rising_decay():
    """After n steps the average keeps (1 + n) / (10 + n) of itself, and at most `decay`."""
    update, new = ema_update(0.5), torch.ones(1)
    averages = [torch.zeros(1) for _ in range(3)]
    for average, n in zip(averages, (1, 8, 1000), strict=True):
        update([average], [new], n)
    assert [1 - 2 / 11, 1 - 9 / 18, 0.5] == pytest.approx([float(average) for average in averages])


# --- distillation


def logits(seed, rows=3, classes=5):
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed))


def test_distillation_loss_of_equal_outputs_is_zero():
    """The loss of equal logits is zero, and a constant added to them does not change it."""
    teacher = logits(0)
    assert pytest.approx(0, abs=1e-6) == float(distillation_loss(teacher, teacher))
    assert pytest.approx(0, abs=1e-6) == float(distillation_loss(teacher + 7, teacher))


@pytest.mark.parametrize("seed", range(1, 5))
def test_distillation_loss_is_the_divergence(seed):
    """The loss is the positive divergence at temperature 2, times its square."""
    teacher, student = logits(0), logits(seed)
    p, q = (np.exp(log_softmax(part.numpy() / 2, axis=1)) for part in (teacher, student))
    assert 4 * (p * np.log(p / q)).sum() / 3 == pytest.approx(float(distillation_loss(student, teacher)), rel=1e-4)
    assert 0 < float(distillation_loss(student, teacher))


def test_distillation_loss_leads_to_the_teacher():
    """Gradient descent on the loss leads to the teacher's probabilities."""
    teacher, student = logits(0), logits(1).requires_grad_()
    losses = []
    for _ in range(200):
        loss = distillation_loss(student, teacher)
        losses.append(float(loss.detach()))
        [gradient] = torch.autograd.grad(loss, student)
        student = (student - gradient).detach().requires_grad_()
    assert sorted(losses, reverse=True)[:50] == losses[:50]
    torch.testing.assert_close(student.softmax(1), teacher.softmax(1), atol=1e-2, rtol=0)


@pytest.fixture(scope="module")
def distilled(trained, tmp_path_factory):
    """Return a function that trains a network with a frozen head, once for each weight of the distillation loss.

    The function returns the network before and after training, and its distillation loss.
    """

    @cache
    def train_with(weight):
        params = WITH_FROZEN_HEAD | {"train__epochs": 3, "train__batch_size": 8, "train__distillation_weight": weight}
        folder = copy_prepared(trained, tmp_path_factory.mktemp("distilled") / "project", **params)
        write_weights(folder)
        with chdir(folder):
            before = build("mobilenet_v2_050", 2, weights="imagenet").eval()
            train_here(folder)
            after, _ = load_checkpoint()
            [(images, _)] = loader(read_split(read_manifest(), "val", Preprocessor(32)), 99, 0)
        with torch.inference_mode():
            return before, after, float(distillation_loss(after(images)[1], before(images)[1]))

    return train_with


def test_training_keeps_the_frozen_head(distilled):
    """Body and head learn; the frozen head and frozen batch norms do not change."""
    before, after, _ = distilled(10.0)
    old, new = before.state_dict(), after.state_dict()
    same = {name for name in old if torch.equal(old[name], new[name])}
    frozen = {"frozen_head.weight", "frozen_head.bias"} | {
        name for name in old if "running_" in name or "num_batches" in name
    }
    assert frozen == same


def test_distillation_reduces_forgetting(distilled):
    """With distillation, a network has less than half of the distillation loss that it has without."""
    losses = {weight: distilled(weight)[2] for weight in (0.0, 10.0)}
    assert losses[10.0] < losses[0.0] / 2, losses


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [([1.0], False), ([1.0, 1.0], True), ([1.0, 0.9], False), ([0.9, 1.0], False), ([0.9, 1.0, 1.0], True)],
)
def test_perfect_validation_ends_training(params, accuracies, expected):
    """Training ends after two epochs in a row without a mistake in validation."""
    progress = Progress(history=[{"val_accuracy": accuracy} for accuracy in accuracies], best={"epoch": {"epoch": 1}})
    reason = train.find_stop_reason(progress, replace(params, patience=9, perfect_epochs=2))
    assert expected == (reason is not None and "no mistake in validation for 2 epochs" in reason)


def test_default_sampler_is_unchanged(params):
    """Without balanced classes, the order is that of torch's own sampler."""
    photos = ConcatDataset([range(100)])
    _, sampler = shard(photos, params, World(0, 1, torch.device("cpu")))
    assert type(sampler) is DistributedSampler
    assert list(DistributedSampler(photos, 1, 0, seed=params.seed)) == list(sampler)
