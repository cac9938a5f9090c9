"""What PyTorch and the candidates say of the same photos, and how long a candidate takes to say it."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from export.convert import Exported
from lambda_app.classifier import Outputs
from training.data import Photos, loader
from training.metrics import calibration_error

Pixels = NDArray[np.uint8]  # (N, 3, S, S)
Run = Callable[[Pixels], Outputs]
WARM_UP = 3
BATCH = 16  # photos; PyTorch holds 25 MB of activations for each


def pytorch(module: Exported) -> Run:
    """The network that was trained, asked like a candidate."""

    def run(pixels: Pixels) -> Outputs:
        with torch.inference_mode():
            return Outputs(*(output.numpy() for output in module(torch.from_numpy(pixels))))

    return run


def ask(runs: Mapping[str, Run], photos: Photos, name: str) -> dict[str, Outputs]:
    """Every photo is decoded once, for all of them."""
    parts: dict[str, list[Outputs]] = {which: [] for which in runs}
    for batch, _ in tqdm(loader(photos, BATCH, workers=0), desc=name, unit="batch"):
        for which, run in runs.items():
            parts[which].append(run(batch.numpy()))
    return {which: joined(outputs) for which, outputs in parts.items()}


def joined(parts: list[Outputs]) -> Outputs:
    columns = zip(*((part.probabilities, part.logits, part.familiarity) for part in parts), strict=True)
    return Outputs(*map(np.concatenate, columns))


def score(outputs: Outputs, labels: NDArray[np.int64], threshold: float) -> dict[str, Any]:
    """Of photos of our classes."""
    probabilities = np.nan_to_num(outputs.probabilities)  # what is no number is confident of nothing; parity tells
    return {
        "photos": len(labels),
        "accuracy": float((probabilities.argmax(1) == labels).mean()),
        "calibration_error": calibration_error(probabilities, labels),
        "unknown_rate": unknown_rate(outputs, threshold),
    }


def unknown_rate(outputs: Outputs, threshold: float) -> float:
    return float((outputs.familiarity < threshold).mean())


def latency(runs: Mapping[str, Run], photo: Pixels, repeats: int) -> dict[str, float]:
    """The median of ms for one (1, 3, S, S); they take turns, so that what else the machine does slows all alike."""
    times: dict[str, list[float]] = {which: [] for which in runs}
    for _ in range(WARM_UP + repeats):
        for which, run in runs.items():
            began = time.perf_counter()
            run(photo)
            times[which].append((time.perf_counter() - began) * 1000)
    return {which: float(np.median(taken[WARM_UP:])) for which, taken in times.items()}
