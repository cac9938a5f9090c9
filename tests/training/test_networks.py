"""A body under two heads: what learns, what is remembered, and what stays as the pretraining left it."""

from itertools import pairwise

import pytest
import torch
from torchvision import models

from training.networks import TIMM, BatchNorm, Network, Normalise, Residual, baseline, pretrainable

BASELINES = ("simple_cnn", "improved_cnn", "logistic")
SMALLEST = "mobilenet_v2_050"


def photos(count: int, size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def step(network: Network) -> None:
    """One step of learning, from the logits and from what is recalled."""
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    logits, recalled = network.train()(photos(4))
    (logits.square().sum() + recalled.square().sum()).backward()
    optimizer.step()


@pytest.fixture
def network():
    """Remembers seven classes, learns two."""
    torch.manual_seed(0)
    return pretrainable(SMALLEST, 2, dropout=0.5, remembered=7)


# --- shapes


@pytest.mark.parametrize("size", [32, 47, 96])
@pytest.mark.parametrize("architecture", TIMM)
def test_pretrainable(architecture, size):
    """uint8 (N, 3, S, S) of any size becomes float32 logits (N, C) and what is recalled (N, K)."""
    logits, recalled = pretrainable(architecture, 5, dropout=0, remembered=7).eval()(photos(2, size))
    assert [(2, 5), (2, 7)] == [logits.shape, recalled.shape]
    assert torch.float32 == logits.dtype == recalled.dtype


@pytest.mark.parametrize("size", [32, 47, 96])
@pytest.mark.parametrize("architecture", BASELINES)
def test_baseline(architecture, size):
    """A baseline takes the same and gives the same; it recalls nothing, (N, 0)."""
    logits, recalled = baseline(architecture, 5, dropout=0).eval()(photos(2, size))
    assert [(2, 5), (2, 0)] == [logits.shape, recalled.shape]


# --- the memory


def test_memory_does_not_learn(network):
    """A step of learning changes body and head; the memory stays, to the bit."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    step(network)
    changed = {name.split(".")[0] for name, value in network.state_dict().items() if not value.equal(before[name])}
    assert {"body", "head"} == changed


def test_memory_holds_the_body(network):
    """What is recalled is a reason for the body to change: its gradient passes through the frozen memory."""
    _, recalled = network(photos(2))
    recalled.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.body.parameters())
    assert network.head.weight.grad is None


def test_recalled_without_dropout(network):
    """Dropout is for the head that learns: the same features are recalled alike."""
    network.freeze_batch_norm = True  # or the statistics of the batch would differ with what was seen before
    (logits, recalled), (other_logits, other_recalled) = (network.train()(photos(2)) for _ in range(2))
    assert recalled.equal(other_recalled)
    assert not logits.equal(other_logits)


def test_no_pretraining_no_memory():
    """Without pretraining there is nothing to remember, and no weight for it in the checkpoint."""
    network = pretrainable(SMALLEST, 2, dropout=0, remembered=0)
    assert network.memory is None
    assert [] == [name for name in network.state_dict() if name.startswith("memory")]
    assert (3, 0) == network.eval()(photos(3))[1].shape


# --- batch norm


def statistics(network):
    return {name: value.clone() for name, value in network.state_dict().items() if "running" in name}


def test_frozen_batch_norm(network):
    """Frozen, the statistics of the pretraining are used and kept while everything else learns."""
    network.freeze_batch_norm = True
    before = statistics(network)
    step(network)
    norms = [module.training for module in network.modules() if isinstance(module, BatchNorm)]
    assert [False] * 52 == norms
    assert network.training
    assert network.dropout.training
    assert all(value.equal(before[name]) for name, value in statistics(network).items())


def test_free_batch_norm(network):
    """From scratch, the statistics are those of the photos."""
    before = statistics(network)
    step(network)
    assert not any(value.equal(before[name]) for name, value in statistics(network).items())


def test_frozen_network_evaluates(network):
    """Evaluation mode is evaluation mode, frozen or not; and back."""
    network.freeze_batch_norm = True
    assert {False} == {module.training for module in network.eval().modules()}
    assert network.train().dropout.training


# --- normalisation


def test_normalisation():
    """The mean that torchvision's weights expect becomes 0, one standard deviation above it 1, in every channel."""
    published = models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
    mean, std = 255 * torch.tensor(published.mean), 255 * torch.tensor(published.std)
    images = torch.stack([mean, mean + std]).view(2, 3, 1, 1)
    expected = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    torch.testing.assert_close(Normalise()(images), expected)


@pytest.mark.parametrize(
    ("architecture", "expected"), [("efficientnet_lite0", [-1.0, 1.0]), ("resnet18", [-0.485 / 0.229, 0.515 / 0.229])]
)
def test_normalisation_of_the_pretraining(architecture, expected):
    """Black and white, in red, become what each body was pretrained with."""
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    network = pretrainable(architecture, 2, dropout=0, remembered=0)
    torch.testing.assert_close(network.normalise(images)[:, 0].flatten(), torch.tensor(expected))


def test_normalisation_is_no_weight(network):
    """The statistics are part of the network, not of its state: a checkpoint cannot change them."""
    assert {"body", "head", "memory"} == {name.split(".")[0] for name in network.state_dict()}


# --- what is written out here


def test_simple_cnn_widens_and_shrinks():
    """Each block halves the sides and widens: 64 pixels of 3 channels become 4 of 256."""
    *blocks, _pool, _flatten = baseline("simple_cnn", 2, 0).body
    shapes = [photos(1).float()]
    for block in blocks:
        shapes.append(block(shapes[-1]))
    assert [(3, 64), (32, 32), (64, 16), (128, 8), (256, 4)] == [x.shape[1:3] for x in shapes]
    assert all(b.min() >= 0 for _, b in pairwise(shapes))  # rectified


def test_residual():
    """With a block that says nothing, what comes in comes out, rectified."""
    residual = next(m for m in baseline("improved_cnn", 2, 0).modules() if isinstance(m, Residual))
    for parameter in residual.parameters():
        torch.nn.init.zeros_(parameter)
    features = torch.randn(1, 32, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(residual(features), features.relu())


def test_dropout():
    """The share of the params is what the network drops while it learns; at rest it drops nothing."""
    network = baseline("logistic", 2, dropout=0.35)
    assert 0.35 == network.dropout.p
    first, second = (network.eval()(photos(1))[0] for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
