"""The networks by name. Each takes uint8 RGB and returns logits, so normalisation travels with the weights."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torchvision import models

from training.source import sha256

Scored = tuple[NDArray[np.float32], NDArray[np.int64]]

CHECKPOINT = Path("artifacts/checkpoint.pt")
PRETRAINED = Path("data/raw/weights")  # ARCHITECTURE.pth here is used before torchvision's download

# ImageNet statistics, RGB in [0, 1]: what torchvision's weights were trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class WeightsError(SystemExit):
    """The pretrained weights cannot be had; the message says which file to put where."""


class Normalise(nn.Module):
    """uint8 0..255 to zero mean and unit variance."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (N, 3, S, S) uint8 -> float32
        return (images.float() - self.mean) / self.std  # type: ignore[operator]  # buffers are typed Tensor | Module


class SimpleCNN(nn.Sequential):
    """Four conv blocks, global pooling: the baseline that tutorials train from scratch."""

    def __init__(self, classes: int, dropout: float) -> None:
        widths = (3, 32, 64, 128, 256)
        blocks = [_block(i, o) for i, o in pairwise(widths)]
        super().__init__(
            *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(widths[-1], classes)
        )


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True), nn.MaxPool2d(2))


class Logistic(nn.Sequential):
    """Logistic regression on the pixels of a 64 x 64 thumbnail: what any network has to beat."""

    def __init__(self, classes: int) -> None:
        super().__init__(nn.Upsample(size=(64, 64), mode="bilinear"), nn.Flatten(), nn.Linear(3 * 64 * 64, classes))


def build(architecture: str, classes: int, dropout: float = 0.0, weights: str | None = None) -> nn.Module:
    """uint8 (N, 3, S, S) -> logits (N, classes). Raises WeightsError or ValueError naming what was asked for."""
    if architecture == "mobilenet_v2":
        network = _mobilenet_v2(classes, dropout, weights)
    elif architecture in {"simple_cnn", "logistic"} and weights is not None:
        raise ValueError(f"train.weights is {weights!r}, but {architecture!r} has no pretrained weights; expected null")
    elif architecture == "simple_cnn":
        network = SimpleCNN(classes, dropout)
    elif architecture == "logistic":
        network = Logistic(classes)
    else:
        raise ValueError(f"train.architecture is {architecture!r}; expected mobilenet_v2, simple_cnn or logistic")
    return nn.Sequential(Normalise(), network)


def _mobilenet_v2(classes: int, dropout: float, weights: str | None) -> nn.Module:
    network = models.mobilenet_v2()
    if weights is not None:
        network.load_state_dict(pretrained("mobilenet_v2", weights, models.MobileNet_V2_Weights.IMAGENET1K_V1))
    network.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(network.last_channel, classes))
    return network


def pretrained(architecture: str, weights: str, published: models.WeightsEnum) -> dict[str, torch.Tensor]:
    """`imagenet` is a file under data/raw/weights/, else torchvision's download; anything else is a file."""
    local = PRETRAINED / f"{architecture}.pth" if weights == "imagenet" else Path(weights)
    if local.exists():
        print(f"weights: {local}, SHA-256 {sha256(local)[:16]}")
        return _load(local)
    if weights != "imagenet":
        raise WeightsError(f"train.weights is {weights!r}: no such file; expected imagenet, a .pth file or null")
    try:
        return dict(published.get_state_dict(progress=True, check_hash=True))
    except OSError as error:
        raise WeightsError(f"cannot download {published.url} ({error}); put that file at {local}") from None


def _load(path: Path) -> dict[str, torch.Tensor]:
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # of random bytes, torch.load also makes KeyError, IndexError, TypeError, struct.error
        raise WeightsError(f"{path} holds no weights ({type(error).__name__}); expected a .pth state dict") from None


def load_checkpoint(path: Path = CHECKPOINT) -> tuple[nn.Module, dict[str, Any]]:
    """The trained network in evaluation mode, and all that `training.train.save_checkpoint` put beside it."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model = build(checkpoint["train"]["architecture"], len(checkpoint["class_names"]))
    model.load_state_dict(checkpoint["state_dict"])
    return model.eval(), checkpoint


@torch.inference_mode()
def predict(model: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], device: torch.device) -> Scored:
    """Logits (n, C) float32 and labels (n,) of every batch, in order."""
    model.eval()
    pairs = [(model(images.to(device)).float().cpu(), labels) for images, labels in batches]
    return torch.cat([logits for logits, _ in pairs]).numpy(), torch.cat([labels for _, labels in pairs]).numpy()


def count_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
