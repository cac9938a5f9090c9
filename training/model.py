"""Build a network by name with its pretrained weights, load a checkpoint, and predict."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.config import BASELINES
from training.interruption import UserError
from training.networks import TIMM, Network, build_network
from training.predictions import Predictions
from training.source import PRETRAINED, sha256

CHECKPOINT = Path("artifacts/checkpoint.pt")


def build(architecture: str, classes: int, dropout: float = 0.0, weights: str | None = None) -> Network:
    """Build a network. Raise `ValueError` for weights of a baseline, `UserError` for weights that do not load."""
    if weights is None:
        return build_network(architecture, classes, dropout)
    if architecture in BASELINES:
        raise ValueError(f"train.weights is {weights!r}, but {architecture!r} has no pretrained weights; expected null")
    tensors = list(load_pretrained(architecture, weights).values())
    frozen_classes = tensors[-1].shape[:1].numel()  # 1 for a scalar, which `copy_weights` then rejects
    network = build_network(architecture, classes, dropout, frozen_classes)
    copy_weights(tensors, network, f"train.weights {weights!r} for {architecture!r}")
    return network


def copy_weights(tensors: list[torch.Tensor], network: Network, name: str) -> None:
    """Copy tensors to body and frozen head by position, since each library names the same layers differently.

    Raise `UserError` if the number of tensors or the shape of one differs.
    """
    targets = [*_tensors(network.body), *_tensors(network.frozen_head)]
    if len(targets) != len(tensors):
        raise UserError(f"{name} do not fit: {len(targets)} tensors are needed, the file has {len(tensors)}")
    for (key, target), tensor in zip(targets, tensors, strict=True):
        if target.shape != tensor.shape:
            raise UserError(f"{name} do not fit: {key} is {tuple(target.shape)}, the file has {tuple(tensor.shape)}")
        target.copy_(tensor)


def _tensors(part: nn.Module | None) -> list[tuple[str, torch.Tensor]]:
    """Return the tensors of a part in the order of its layers, without batch norm's counts of batches."""
    state = {} if part is None else part.state_dict()  # shares its memory with the part
    return [(key, value) for key, value in state.items() if not key.endswith("num_batches_tracked")]


def load_pretrained(architecture: str, weights: str) -> dict[str, torch.Tensor]:
    """Load a state dict: for `imagenet` a file under data/raw/weights/, else timm's download; otherwise a file."""
    local = PRETRAINED / f"{architecture}.pth" if weights == "imagenet" else Path(weights)
    if local.exists():
        print(f"weights: {local}, SHA-256 {sha256(local)[:16]}")
        state = _read_state_dict(local)
    elif weights != "imagenet":
        raise UserError(f"train.weights is {weights!r}: no such file; expected imagenet, a .pth file or null")
    else:
        state = _download(architecture, local)
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def _download(architecture: str, local: Path) -> dict[str, torch.Tensor]:
    import timm  # noqa: PLC0415  # as in training.networks

    try:
        return dict(timm.create_model(TIMM[architecture], pretrained=True).state_dict())
    except (OSError, RuntimeError) as error:  # no network, or no huggingface_hub
        reason = str(error).splitlines()[0]
        raise UserError(f"cannot download {TIMM[architecture]} ({reason}); put its state dict at {local}") from None


def _read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    try:
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # for random bytes torch.load raises KeyError, IndexError, TypeError, struct.error, …
        raise UserError(f"{path} holds no weights ({type(error).__name__}); expected a .pth state dict") from None
    if not state:
        raise UserError(f"{path} is empty; expected a .pth state dict")
    if others := [key for key, value in state.items() if not isinstance(value, torch.Tensor)]:
        raise UserError(f"{path} holds {others[0]!r}, which is not a tensor; expected a .pth state dict")
    return state


def load_checkpoint(path: Path = CHECKPOINT) -> tuple[Network, dict[str, Any]]:
    """Return the trained network in evaluation mode, and the checkpoint that `training.train` wrote."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    architecture, classes = checkpoint["train"]["architecture"], len(checkpoint["class_names"])
    # The frozen head of older checkpoints is called `memory`.
    state = {key.replace("memory.", "frozen_head."): value for key, value in checkpoint["state_dict"].items()}
    network = build_network(architecture, classes, frozen_classes=len(state.get("frozen_head.bias", ())))
    network.load_state_dict(state)
    return network.eval(), checkpoint


@torch.inference_mode()
def predict(model: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> Predictions:
    """Return the outputs for every batch, in order, in evaluation mode."""
    device = next(model.parameters()).device
    model.eval()
    outputs = [(*model(images.to(device)), labels) for images, labels in batches]
    logits, frozen_logits, labels = (torch.cat([part.cpu() for part in parts]) for parts in zip(*outputs, strict=True))
    return Predictions(logits.float().numpy(), frozen_logits.float().numpy(), labels.numpy())


def count_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
