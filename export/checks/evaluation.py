"""Run PyTorch and the candidates on the same photos and score their outputs."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from export.convert import ExportedNetwork
from lambda_app.outputs import Outputs
from training.batches import loader
from training.metrics import calibration_error
from training.photo_dataset import Photos

PixelBatch = NDArray[np.uint8]  # (N, 3, S, S)
Run = Callable[[PixelBatch], Outputs]
BATCH = 16  # photos; PyTorch holds 25 MB of activations for each


def make_pytorch_run(module: ExportedNetwork) -> Run:
    """Return a function that runs the trained network with the interface of `Classifier.run`."""

    def run(pixels: PixelBatch) -> Outputs:
        with torch.inference_mode():
            return Outputs(*(output.numpy() for output in module(torch.from_numpy(pixels))))

    return run


def run_all(runs: Mapping[str, Run], photos: Photos, set_name: str) -> dict[str, Outputs]:
    """Return the outputs of every model for all photos. Each photo is decoded once."""
    parts: dict[str, list[Outputs]] = {name: [] for name in runs}
    for batch, _ in tqdm(loader(photos, BATCH, workers=0), desc=set_name, unit="batch"):
        for name, run in runs.items():
            parts[name].append(run(batch.numpy()))
    return {name: concatenate(outputs) for name, outputs in parts.items()}


def concatenate(parts: list[Outputs]) -> Outputs:
    """Return the outputs of several batches as those of a single batch."""
    columns = zip(*((part.probabilities, part.logits, part.familiarity) for part in parts), strict=True)
    return Outputs(*map(np.concatenate, columns))


def score_outputs(outputs: Outputs, labels: NDArray[np.int64], threshold: float) -> dict[str, Any]:
    """Return accuracy, calibration error and unknown rate, each in [0, 1], on photos of the classes."""
    probabilities = np.nan_to_num(outputs.probabilities)  # NaN counts as zero confidence; the parity gates report it
    return {
        "photos": len(labels),
        "accuracy": float((probabilities.argmax(1) == labels).mean()),
        "calibration_error": calibration_error(probabilities, labels),
        "unknown_rate": measure_unknown_rate(outputs, threshold),
    }


def measure_unknown_rate(outputs: Outputs, threshold: float) -> float:
    """Return the share of photos whose familiarity is below the threshold."""
    return float((outputs.familiarity < threshold).mean())
