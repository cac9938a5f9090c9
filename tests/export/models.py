"""Networks that learnt nothing, yet answer differently to different photos; and ONNX files that say something else."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from PIL import Image
from torch import nn

from lambda_app.preprocess import preprocess
from tests.drawing import LABELS, draw, encode
from training.model import build
from training.networks import Network, build_timm

# Limits that a network which learnt drawings for seconds keeps on 34 of them.
LENIENT = {
    "verify__classes": [*LABELS],
    "verify__min_photos": 1,
    "verify__max_accuracy_loss": 1.0,
    "verify__min_accuracy": {"test": 0.5, "abroad": 0.2},
    "verify__max_unknown_rate": {"test": 1.0},
    "verify__min_unknown_rate": {"noise": 0.0},
    "verify__max_calibration_error": 0.5,
    "verify__max_latency_ratio": 1e9,  # how fast this machine is at the moment decides nothing
    "verify__min_agreement": 0.0,
    "verify__behavior_photos": 4,
    "verify__latency_repeats": 5,
}


def write_noise(folder: Path, count: int) -> None:
    """Pictures of nothing, as FOLDER/SEED.jpg."""
    folder.mkdir(parents=True)
    for seed in range(count):
        noise = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
        (folder / f"{seed}.jpg").write_bytes(encode(Image.fromarray(noise)))


def pixels(count: int, size: int) -> np.ndarray:
    """uint8 (N, 3, S, S) of drawings, as served."""
    drawings = (draw(LABELS[i % len(LABELS)], i, size) for i in range(count))
    return np.stack([preprocess(encode(drawing), size).pixels for drawing in drawings])


def untrained(architecture: str, classes: int, size: int = 32, frozen_classes: int = 0) -> Network:
    """Random weights, batch norm with the statistics of drawings, logits some units apart; in evaluation mode.

    With a frozen head of `frozen_classes` classes, which only networks of timm can have.
    """
    torch.manual_seed(0)
    model = build_timm(architecture, classes, 0, frozen_classes) if frozen_classes else build(architecture, classes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=3 / module.in_features**0.5)
    with torch.no_grad():
        model(torch.from_numpy(pixels(32, size)))
    return model.eval()


def restamp(path: Path, without: str = "", **metadata: Any) -> None:
    """Change what the file says about itself, or remove a key of it."""
    program = onnx.load(path)
    props = {prop.key: prop.value for prop in program.metadata_props if prop.key != without}
    onnx.helper.set_model_props(program, props | {key: json.dumps(value) for key, value in metadata.items()})
    onnx.save(program, path)
