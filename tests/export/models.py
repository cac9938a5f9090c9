"""Networks that learnt nothing, yet answer differently to different photos; and ONNX files that say something else."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from lambda_app.preprocess import preprocess
from tests.drawing import LABELS, draw, encode
from training.model import build


def pixels(count: int, size: int) -> np.ndarray:
    """uint8 (N, 3, S, S) of drawings, as served."""
    drawings = (draw(LABELS[i % len(LABELS)], i, size) for i in range(count))
    return np.stack([preprocess(encode(drawing), size).pixels for drawing in drawings])


def untrained(architecture: str, classes: int, size: int = 32) -> nn.Module:
    """Random weights, batch norm with the statistics of drawings, logits some units apart; in evaluation mode."""
    torch.manual_seed(0)
    model = build(architecture, classes)
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
