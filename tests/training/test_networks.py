"""Test a body with two heads: which parts learn and which stay as in the pretraining."""

from itertools import pairwise
from typing import get_args

import pytest
import torch
from torchvision import models

from tests.training.workspace import random_pixels
from training.config import BASELINES, Train
from training.networks import TIMM, BatchNorm, Network, Normalize, Residual, build_baseline, build_timm

SMALLEST = "mobilenet_v2_050"


def step(network: Network) -> None:
    """Take one optimizer step on a loss of both heads."""
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    logits, frozen_logits = network.train()(random_pixels(4))
    (logits.square().sum() + frozen_logits.square().sum()).backward()
    optimizer.step()


@pytest.fixture
def network():
    """Return a network with seven frozen classes and two to learn."""
    torch.manual_seed(0)
    return build_timm(SMALLEST, 2, dropout=0.5, frozen_classes=7)


# --- shapes


def test_params_accept_every_network():
    """The values that `train.architecture` accepts are the networks that can be built."""
    assert {*TIMM, *BASELINES} == set(get_args(Train.__annotations__["architecture"]))


SIZES = (32, 47, 96)


@pytest.mark.parametrize("architecture", TIMM)
def test_timm_network_has_two_outputs(architecture):
    """uint8 (N, 3, S, S) of any size becomes float32 logits (N, C) and frozen logits (N, K)."""
    network = build_timm(architecture, 5, dropout=0, frozen_classes=7).eval()
    for size in SIZES:
        logits, frozen_logits = network(random_pixels(2, size))
        assert [(2, 5), (2, 7)] == [logits.shape, frozen_logits.shape]
        assert torch.float32 == logits.dtype == frozen_logits.dtype


@pytest.mark.parametrize("architecture", BASELINES)
def test_baseline_has_empty_frozen_logits(architecture):
    """A baseline accepts the same input; its frozen logits are (N, 0)."""
    network = build_baseline(architecture, 5, dropout=0).eval()
    for size in SIZES:
        logits, frozen_logits = network(random_pixels(2, size))
        assert [(2, 5), (2, 0)] == [logits.shape, frozen_logits.shape]


# --- the frozen head


def test_frozen_head_passes_gradients_to_the_body(network):
    """The gradient of the frozen logits reaches the body through the frozen head."""
    _, frozen_logits = network(random_pixels(2))
    frozen_logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.body.parameters())
    assert network.head.weight.grad is None


def test_dropout_spares_the_frozen_head(network):
    """Dropout applies to the head alone: frozen logits of the same photos are equal."""
    network.freeze_batch_norm = True  # otherwise the first pass changes the statistics
    (logits, frozen_logits), (other_logits, other_frozen_logits) = (network.train()(random_pixels(2)) for _ in range(2))
    assert frozen_logits.equal(other_frozen_logits)
    assert not logits.equal(other_logits)


# --- batch norm


def statistics(network):
    return {name: value.clone() for name, value in network.state_dict().items() if "running" in name}


def test_frozen_batch_norm_keeps_its_statistics(network):
    """Frozen batch norms use and keep the statistics of the pretraining while everything else learns."""
    network.freeze_batch_norm = True
    before = statistics(network)
    step(network)
    norms = [module.training for module in network.modules() if isinstance(module, BatchNorm)]
    assert [False] * 52 == norms
    assert network.training
    assert network.dropout.training
    assert all(value.equal(before[name]) for name, value in statistics(network).items())


def test_batch_norm_learns_its_statistics(network):
    """Without freezing, the statistics are updated from the photos."""
    before = statistics(network)
    step(network)
    assert not any(value.equal(before[name]) for name, value in statistics(network).items())


def test_frozen_network_changes_mode(network):
    """A network with frozen batch norms can be switched to evaluation mode and back."""
    network.freeze_batch_norm = True
    assert {False} == {module.training for module in network.eval().modules()}
    assert network.train().dropout.training


# --- normalization


def test_normalize_uses_torchvision_statistics():
    """The mean that torchvision's weights expect becomes 0, and one standard deviation above it 1."""
    published = models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
    mean, std = 255 * torch.tensor(published.mean), 255 * torch.tensor(published.std)
    images = torch.stack([mean, mean + std]).view(2, 3, 1, 1)
    expected = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    torch.testing.assert_close(Normalize()(images), expected)


@pytest.mark.parametrize(
    ("architecture", "expected"), [("efficientnet_lite0", [-1.0, 1.0]), ("resnet18", [-0.485 / 0.229, 0.515 / 0.229])]
)
def test_normalize_uses_the_statistics_of_the_body(architecture, expected):
    """Black and white, in red, become the values with which each body was pretrained."""
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    network = build_timm(architecture, 2, dropout=0, frozen_classes=0)
    torch.testing.assert_close(network.normalize(images)[:, 0].flatten(), torch.tensor(expected))


def test_normalize_is_not_in_the_state(network):
    """The statistics are not in the state dict, so a checkpoint cannot change them."""
    assert {"body", "head", "frozen_head"} == {name.split(".")[0] for name in network.state_dict()}


# --- baselines


def test_simple_cnn_halves_and_widens():
    """Each block halves the sides and adds channels: 64 pixels of 3 channels become 4 of 256."""
    *blocks, _pool, _flatten = build_baseline("simple_cnn", 2, 0).body
    shapes = [random_pixels(1).float()]
    for block in blocks:
        shapes.append(block(shapes[-1]))
    assert [(3, 64), (32, 32), (64, 16), (128, 8), (256, 4)] == [x.shape[1:3] for x in shapes]
    assert all(b.min() >= 0 for _, b in pairwise(shapes))  # rectified


def test_residual_of_zero_weights_is_relu():
    """A residual block with zero weights returns its rectified input."""
    residual = next(m for m in build_baseline("improved_cnn", 2, 0).modules() if isinstance(m, Residual))
    for parameter in residual.parameters():
        torch.nn.init.zeros_(parameter)
    features = torch.randn(1, 32, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(residual(features), features.relu())


def test_dropout_has_the_rate_of_params():
    """The dropout rate is that of params, and evaluation mode drops nothing."""
    network = build_baseline("logistic", 2, dropout=0.35)
    assert 0.35 == network.dropout.p
    first, second = (network.eval()(random_pixels(1))[0] for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
