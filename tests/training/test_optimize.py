"""Test the optimizer: groups of parameters, the moving average of the weights, and distillation."""

from contextlib import chdir
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from tests.training.processes import WITH_FROZEN_HEAD, copy_prepared, train_here, write_weights
from training.batches import loader
from training.manifest import read_manifest
from training.model import build, load_checkpoint
from training.networks import build_baseline, build_timm
from training.optimize import distillation_loss, ema_update, parameter_groups
from training.photo_dataset import Preprocessor, read_split


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


@pytest.mark.parametrize("seed", range(1, 5))
def test_distillation_loss_is_the_divergence(seed):
    """The loss is the positive divergence at temperature 2, times its square."""
    teacher, student = logits(0), logits(seed)
    p, q = (np.exp(log_softmax(part.numpy() / 2, axis=1)) for part in (teacher, student))
    assert 4 * (p * np.log(p / q)).sum() / 3 == pytest.approx(float(distillation_loss(student, teacher)), rel=1e-4)
    assert 0 < float(distillation_loss(student, teacher))


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
