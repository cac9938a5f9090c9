"""Define the networks of `train.architecture`, with random weights: bodies from timm, and baselines defined here."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

# Names in params.yaml, and timm's names for them.
TIMM = {
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v2_050": "mobilenetv2_050",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "resnet18": "resnet18",
}
# Statistics of ImageNet, RGB in [0, 1], with which torchvision's weights were trained.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
BatchNorm = nn.modules.batchnorm._BatchNorm  # noqa: SLF001  # the base class of all, timm's too, has no public name


class Normalize(nn.Module):
    """Normalize uint8 pixels (N, 3, S, S) in 0..255 with the statistics of the pretraining."""

    def __init__(self, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (N, 3, S, S) uint8 -> float32
        return (images.float() - self.mean) / self.std  # type: ignore[operator]  # buffers are typed Tensor | Module


class Network(nn.Module):
    """A body with two heads: `head` for the classes to learn, and `frozen_head` for those of the pretraining.

    The frozen head preserves what the network learned before (Li & Hoiem 2016, "Learning without Forgetting"). It
    regularizes the body during training, and tells known from unknown photos when serving. A network without
    pretraining has none.
    """

    def __init__(
        self, normalize: Normalize, body: nn.Module, head: nn.Linear, dropout: float, frozen_head: nn.Linear | None
    ) -> None:
        super().__init__()
        self.normalize, self.body, self.head, self.frozen_head = normalize, body, head, frozen_head
        self.dropout = nn.Dropout(dropout)
        self.freeze_batch_norm = False
        if frozen_head is not None:
            frozen_head.requires_grad_(requires_grad=False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map uint8 (N, 3, S, S) to logits (N, C) and frozen logits (N, K); K is 0 without a frozen head."""
        features = self.body(self.normalize(images))  # (N, D)
        frozen_logits = features[:, :0] if self.frozen_head is None else self.frozen_head(features)
        return self.head(self.dropout(features)), frozen_logits

    def train(self, mode: bool = True) -> "Network":  # noqa: FBT001, FBT002  # torch's signature
        """Set the mode as torch does, but keep frozen batch norms on the statistics of the pretraining."""
        super().train(mode)
        if self.freeze_batch_norm:
            for module in self.modules():
                if isinstance(module, BatchNorm):
                    module.eval()
        return self


def build_network(architecture: str, classes: int, dropout: float = 0.0, frozen_classes: int = 0) -> Network:
    """Build a network of `train.architecture` with random weights. A baseline has no frozen head."""
    if architecture in TIMM:
        return build_timm(architecture, classes, dropout, frozen_classes)
    return build_baseline(architecture, classes, dropout)


def build_timm(architecture: str, classes: int, dropout: float, frozen_classes: int) -> Network:
    """Build a body from timm with a new head and, if `frozen_classes` is not 0, a frozen head."""
    import timm  # noqa: PLC0415  # its imports would take a third of the start of stages without it

    body: Any = timm.create_model(TIMM[architecture], pretrained=False)  # timm's modules are typed too loosely
    pretraining = body.pretrained_cfg
    features = body.get_classifier().in_features
    frozen_head = nn.Linear(features, frozen_classes) if frozen_classes else None
    body.reset_classifier(0)
    normalize = Normalize(pretraining["mean"], pretraining["std"])
    return Network(normalize, body, nn.Linear(features, classes), dropout, frozen_head)


def build_baseline(architecture: str, classes: int, dropout: float) -> Network:
    """Build one of the networks that this module defines, with random weights."""
    bodies = {"simple_cnn": (simple_cnn, 256), "improved_cnn": (improved_cnn, 256), "logistic": (thumbnail, 3 * 64**2)}
    build_body, features = bodies[architecture]
    return Network(Normalize(), build_body(), nn.Linear(features, classes), dropout, frozen_head=None)


def simple_cnn() -> nn.Module:
    """Return four convolution blocks and global pooling: the baseline of most tutorials."""
    blocks = [_simple_block(i, o) for i, o in pairwise((3, 32, 64, 128, 256))]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _simple_block(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(_convolution(channels_in, channels_out), nn.ReLU(inplace=True), nn.MaxPool2d(2))


def improved_cnn() -> nn.Module:
    """Return stages of the same widths, each a stride-2 convolution and two residual blocks (He et al. 2016)."""
    stages = [
        nn.Sequential(_convolution(i, o, stride=2), nn.ReLU(inplace=True), Residual(o), Residual(o))
        for i, o in pairwise((3, 32, 64, 128, 256))
    ]
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Residual(nn.Module):
    """Add the input to two 3 x 3 convolutions of it, then rectify."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            _convolution(channels, channels), nn.ReLU(inplace=True), _convolution(channels, channels)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu(images + self.block(images))


def _convolution(channels_in: int, channels_out: int, stride: int = 1) -> nn.Module:
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out))


def thumbnail() -> nn.Module:
    """Return a 64 x 64 thumbnail as features. With a head this is logistic regression, the lowest baseline."""
    return nn.Sequential(nn.Upsample(size=(64, 64), mode="bilinear"), nn.Flatten())
