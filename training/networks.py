"""What can stand behind `train.architecture`: pretrained bodies from timm, and the baselines written out here."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

# Our names, timm's names.
TIMM = {
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v2_050": "mobilenetv2_050",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "resnet18": "resnet18",
}
# ImageNet statistics, RGB in [0, 1]: what torchvision's weights were trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
BatchNorm = nn.modules.batchnorm._BatchNorm  # noqa: SLF001  # the base of all of them, timm's too; it has no public name


class Normalise(nn.Module):
    """uint8 0..255 to what the body was trained with."""

    def __init__(self, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:  # (N, 3, S, S) uint8 -> float32
        return (images.float() - self.mean) / self.std  # type: ignore[operator]  # buffers are typed Tensor | Module


class Network(nn.Module):
    """A body under two heads: `head` for our classes and, frozen, `memory` for those of the pretraining.

    The memory keeps what the network knew before (Li & Hoiem 2016, "Learning without Forgetting"): it holds the body in
    place while training, and tells the known from the unknown when serving. Without pretraining it is absent.
    """

    def __init__(
        self, normalise: Normalise, body: nn.Module, head: nn.Linear, dropout: float, memory: nn.Linear | None
    ) -> None:
        super().__init__()
        self.normalise, self.body, self.head, self.memory = normalise, body, head, memory
        self.dropout = nn.Dropout(dropout)
        self.freeze_batch_norm = False
        if memory is not None:
            memory.requires_grad_(requires_grad=False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 (N, 3, S, S) -> logits (N, C) and recalled logits (N, K); K is 0 without a memory."""
        features = self.body(self.normalise(images))  # (N, D)
        recalled = features[:, :0] if self.memory is None else self.memory(features)
        return self.head(self.dropout(features)), recalled

    def train(self, mode: bool = True) -> "Network":  # noqa: FBT001, FBT002  # torch's signature
        """As torch does, but frozen batch norms go on using the statistics of the pretraining."""
        super().train(mode)
        if self.freeze_batch_norm:
            for module in self.modules():
                if isinstance(module, BatchNorm):
                    module.eval()
        return self


def pretrainable(architecture: str, classes: int, dropout: float, remembered: int) -> Network:
    """A timm body, a new head, and a memory of `remembered` classes."""
    import timm  # noqa: PLC0415  # brings torchvision and torch._dynamo: a third of the start of stages without a body

    body: Any = timm.create_model(TIMM[architecture], pretrained=False)  # timm's modules are typed too loosely
    about = body.pretrained_cfg
    features = body.get_classifier().in_features
    memory = nn.Linear(features, remembered) if remembered else None
    body.reset_classifier(0)
    return Network(Normalise(about["mean"], about["std"]), body, nn.Linear(features, classes), dropout, memory)


def baseline(architecture: str, classes: int, dropout: float) -> Network:
    bodies = {"simple_cnn": (simple_cnn, 256), "improved_cnn": (improved_cnn, 256), "logistic": (thumbnail, 3 * 64**2)}
    make, features = bodies[architecture]
    return Network(Normalise(), make(), nn.Linear(features, classes), dropout, memory=None)


def simple_cnn() -> nn.Module:
    """Four conv blocks, global pooling: the baseline that tutorials train from scratch."""
    blocks = [_simple_block(i, o) for i, o in pairwise((3, 32, 64, 128, 256))]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _simple_block(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(_convolution(channels_in, channels_out), nn.ReLU(inplace=True), nn.MaxPool2d(2))


def improved_cnn() -> nn.Module:
    """The same widths with a stem of stride two and two residual blocks a stage (He et al. 2016)."""
    stages = [
        nn.Sequential(_convolution(i, o, stride=2), nn.ReLU(inplace=True), Residual(o), Residual(o))
        for i, o in pairwise((3, 32, 64, 128, 256))
    ]
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Residual(nn.Module):
    """Two 3 x 3 convolutions and the identity around them."""

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
    """The pixels of a 64 x 64 thumbnail; with the head, the logistic regression that any network has to beat."""
    return nn.Sequential(nn.Upsample(size=(64, 64), mode="bilinear"), nn.Flatten())
