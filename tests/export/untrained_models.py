"""Make untrained networks whose predictions differ by photo, change metadata, and provide lenient limits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from PIL import Image
from torch import nn

from lambda_app.metadata import Metadata
from lambda_app.preprocess import preprocess
from tests.support.drawing import LABELS, draw, encode_image
from training.model import build
from training.networks import Network, build_timm

SIZE = 64
TEMPERATURE = 1.7
METADATA = Metadata(
    class_names=("cat", "dog", "wild rabbit"),
    image_size=SIZE,
    model_version="2026.01.31-01234567",
    run_id="01234567" * 4,
    architecture="any",
    parameters=123,
    temperature=TEMPERATURE,
    unknown_threshold=-0.25,
    data_hash="f" * 64,
    git_commit="unknown",
    metrics={"test": {"accuracy": 1 / 3, "confusion_matrix": [[1, 2], [3, 4]]}, "ñandú": {"photos": 3}},
)
# Limits that a network passes after a few seconds of training on drawings, with 34 test photos.
LENIENT = {
    "verify__classes": [*LABELS],
    "verify__min_photos": 1,
    "verify__max_accuracy_loss": 1.0,
    "verify__min_accuracy": {"test": 0.5, "abroad": 0.2},
    "verify__max_unknown_rate": {"test": 1.0},
    "verify__min_unknown_rate": {"noise": 0.0},
    "verify__max_calibration_error": 0.5,
    "verify__max_latency_ratio": 1e9,  # the speed of this machine must not decide a test
    "verify__min_agreement": 0.0,
    "verify__behavior_photos": 4,
    "verify__latency_repeats": 5,
}


def write_noise(folder: Path, count: int) -> None:
    """Write pictures of random noise as FOLDER/SEED.jpg."""
    folder.mkdir(parents=True)
    for seed in range(count):
        noise = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
        (folder / f"{seed}.jpg").write_bytes(encode_image(Image.fromarray(noise)))


def pixels(count: int, size: int) -> np.ndarray:
    """Return uint8 (N, 3, S, S) of drawings, preprocessed as in serving."""
    drawings = (draw(LABELS[i % len(LABELS)], i, size) for i in range(count))
    return np.stack([preprocess(encode_image(drawing), size).pixels for drawing in drawings])


class Drawings:
    """Hold sixteen drawings, with the interface of `training.photo_dataset.Photos`."""

    def __init__(self) -> None:
        self.pixels = pixels(16, SIZE)
        self.ids, self.labels = list(range(16)), [0] * 16

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.pixels[index], 0


def untrained(architecture: str, classes: int, size: int = 32, frozen_classes: int = 0) -> Network:
    """Return a network with random weights in evaluation mode.

    Batch norms hold the statistics of drawings, and logits differ by a few units. With `frozen_classes`, which requires
    an architecture of timm, the network has a frozen head of that many pretraining classes.
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
    """Change keys of the metadata of a file, or remove one."""
    program = onnx.load(path)
    props = {prop.key: prop.value for prop in program.metadata_props if prop.key != without}
    onnx.helper.set_model_props(program, props | {key: json.dumps(value) for key, value in metadata.items()})
    onnx.save(program, path)
