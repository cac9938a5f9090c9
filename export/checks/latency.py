"""Measure how long each candidate file takes for one photo.

`main` is the last stage of `make baselines`; no stage of the pipeline runs it.
"""

import time
from collections.abc import Mapping

import numpy as np

from export.checks.evaluation import PixelBatch, Run
from export.files import CANDIDATES
from lambda_app.classifier import Classifier
from training.figures import write_figures

REPEATS = 100
WARM_UP_RUNS = 3


def main() -> None:
    classifiers = {path.stem: Classifier.load(path) for path in sorted(CANDIDATES.glob("*.onnx"))}
    size = next(iter(classifiers.values())).metadata.image_size
    photo = np.random.default_rng(0).integers(0, 256, (1, 3, size, size), np.uint8)
    figures = measure_latency({name: classifier.run for name, classifier in classifiers.items()}, photo, REPEATS)
    write_figures("latency", figures)
    print(", ".join(f"{name} {figure:.2f} ms" for name, figure in figures.items()))


def measure_latency(runs: Mapping[str, Run], photo: PixelBatch, repeats: int) -> dict[str, float]:
    """Return the median milliseconds that each candidate takes for one photo (1, 3, S, S).

    The candidates take turns, so that other work on the machine slows all of them alike.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(WARM_UP_RUNS + repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run(photo)
            times[name].append((time.perf_counter() - start) * 1000)
    return {name: float(np.median(measured[WARM_UP_RUNS:])) for name, measured in times.items()}
