"""A network by name with its pretrained weights, to a checkpoint and back."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.networks import TIMM, Network, baseline, pretrainable
from training.source import sha256

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]
BASELINES = ("simple_cnn", "improved_cnn", "logistic")
CHECKPOINT = Path("artifacts/checkpoint.pt")
PRETRAINED = Path("data/raw/weights")  # ARCHITECTURE.pth here is used before timm's download


class WeightsError(SystemExit):
    """The pretrained weights cannot be had; the message says which file to put where."""


@dataclass(frozen=True)
class Scored:
    """What a network says of n photos, in order."""

    logits: NDArray[np.float32]  # (n, C)
    recalled: NDArray[np.float32]  # (n, K) logits of the pretraining's classes; K may be 0
    labels: Labels  # (n,)


def build(architecture: str, classes: int, dropout: float = 0.0, weights: str | None = None) -> Network:
    """Raises WeightsError or ValueError naming what was asked for."""
    if architecture not in (*TIMM, *BASELINES):
        raise ValueError(f"train.architecture is {architecture!r}; expected one of {', '.join((*TIMM, *BASELINES))}")
    if architecture in BASELINES:
        if weights is not None:
            raise ValueError(
                f"train.weights is {weights!r}, but {architecture!r} has no pretrained weights; expected null"
            )
        return baseline(architecture, classes, dropout)
    if weights is None:
        return pretrainable(architecture, classes, dropout, remembered=0)
    tensors = list(pretrained(architecture, weights).values())
    network = pretrainable(architecture, classes, dropout, remembered=tensors[-1].shape[:1].numel())  # of a number, 1
    fill(network, tensors, f"train.weights {weights!r} for {architecture!r}")
    return network


def fill(network: Network, tensors: list[torch.Tensor], name: str) -> None:
    """By position, since every library names the same layers otherwise; a tensor of another shape is an error."""
    places = [*_tensors(network.body), *_tensors(network.memory)]
    if len(places) != len(tensors):
        raise WeightsError(f"{name} do not fit: {len(places)} tensors are needed, the file has {len(tensors)}")
    for (key, place), tensor in zip(places, tensors, strict=True):
        if place.shape != tensor.shape:
            raise WeightsError(f"{name} do not fit: {key} is {tuple(place.shape)}, the file has {tuple(tensor.shape)}")
        place.copy_(tensor)


def _tensors(part: nn.Module | None) -> list[tuple[str, torch.Tensor]]:
    """In the order of the layers, without the counts of batches that batch norm has seen."""
    state = {} if part is None else part.state_dict()  # shares its memory with the part
    return [(key, value) for key, value in state.items() if not key.endswith("num_batches_tracked")]


def pretrained(architecture: str, weights: str) -> dict[str, torch.Tensor]:
    """`imagenet` is a file under data/raw/weights/, else timm's download; anything else is a file."""
    local = PRETRAINED / f"{architecture}.pth" if weights == "imagenet" else Path(weights)
    if local.exists():
        print(f"weights: {local}, SHA-256 {sha256(local)[:16]}")
        state = _load(local)
    elif weights != "imagenet":
        raise WeightsError(f"train.weights is {weights!r}: no such file; expected imagenet, a .pth file or null")
    else:
        state = _download(architecture, local)
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def _download(architecture: str, local: Path) -> dict[str, torch.Tensor]:
    import timm  # noqa: PLC0415  # as in training.networks

    try:
        return dict(timm.create_model(TIMM[architecture], pretrained=True).state_dict())
    except (OSError, RuntimeError) as error:  # no way out; no huggingface_hub
        reason = str(error).splitlines()[0]
        raise WeightsError(f"cannot download {TIMM[architecture]} ({reason}); put its state dict at {local}") from None


def _load(path: Path) -> dict[str, torch.Tensor]:
    try:
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # of random bytes, torch.load also makes KeyError, IndexError, TypeError, struct.error
        raise WeightsError(f"{path} holds no weights ({type(error).__name__}); expected a .pth state dict") from None
    if not state:
        raise WeightsError(f"{path} is empty; expected a .pth state dict")
    if strangers := [key for key, value in state.items() if not isinstance(value, torch.Tensor)]:
        raise WeightsError(f"{path} holds {strangers[0]!r}, which is no tensor; expected a .pth state dict")
    return state


def load_checkpoint(path: Path = CHECKPOINT) -> tuple[Network, dict[str, Any]]:
    """The trained network in evaluation mode, and all that `training.train` put beside it."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    architecture, classes = checkpoint["train"]["architecture"], len(checkpoint["class_names"])
    state = checkpoint["state_dict"]
    if architecture in BASELINES:
        network = baseline(architecture, classes, dropout=0)
    else:
        network = pretrainable(architecture, classes, 0, remembered=len(state.get("memory.bias", ())))
    network.load_state_dict(state)
    return network.eval(), checkpoint


@torch.inference_mode()
def predict(model: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], device: torch.device) -> Scored:
    """Every batch, in order."""
    model.eval()
    answers = [(*model(images.to(device)), labels) for images, labels in batches]
    logits, recalled, labels = (torch.cat([part.cpu() for part in parts]) for parts in zip(*answers, strict=True))
    return Scored(logits.float().numpy(), recalled.float().numpy(), labels.numpy())


def count_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
