"""Measure accuracy and time of the released file at several image sizes.

`python -m export.experiments.image_sizes PHOTOS`, with an archive or folder of labeled photos, writes
`artifacts/metrics/image_sizes.json`, from which `make docs` writes the table in training/RESULTS.md.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.checks.evaluation import PixelBatch, Run, run_all, score_outputs
from export.checks.latency import REPEATS, measure_latency
from export.files import RELEASED
from export.graph import open_session
from lambda_app.classifier import OUTPUTS, Classifier
from lambda_app.metadata import Metadata
from lambda_app.outputs import Outputs
from training.figures import write_figures
from training.further_sets import read_folder
from training.markdown_table import percent, table
from training.photo_dataset import Preprocessor
from training.source import sha256
from training.tools.results_page import describe_hardware

SIZES = (192, 208, 224, 240, 256)  # pixels; in steps of 16 around 224, the size of the release


def make_run(path: Path) -> Run:
    """Return a function that runs a model file on images of any size, on one thread."""
    model = onnx.load(path)
    for dimension in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.Clear()  # of any length
    session = open_session(model)
    return lambda pixels: Outputs(*session.run(OUTPUTS, {"images": pixels}))


def measure_sizes(path: Path, photos_path: Path, sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Return the scores of a model file on labeled photos, and its milliseconds per photo, for each image size."""
    run, metadata = make_run(path), Classifier.load(path).metadata
    times = {size: _time_size(run, size) for size in sizes}
    return [{"image_size": size, "ms": times[size], **_score_size(run, metadata, photos_path, size)} for size in sizes]


def _score_size(run: Run, metadata: Metadata, photos_path: Path, size: int) -> dict[str, Any]:
    photos = read_folder(photos_path, list(metadata.class_names), Preprocessor(size))
    [outputs] = run_all({"model": run}, photos, f"{size} px").values()
    return score_outputs(outputs, np.array(photos.labels), metadata.unknown_threshold)


def _time_size(run: Run, size: int) -> float:
    photo: PixelBatch = np.random.default_rng(0).integers(0, 256, (1, 3, size, size), np.uint8)
    return measure_latency({"model": run}, photo, REPEATS)["model"]


def render(figures: dict[str, Any]) -> str:
    """Return a table with a row for each image size, or a note if the figures are of another file."""
    if figures["sha256"] != sha256(RELEASED):
        return "Not measured for this model."
    rows = [
        (
            str(row["image_size"]),
            *(percent(row[name]) for name in ("accuracy", "calibration_error", "unknown_rate")),
            f"{row['ms']:.1f}",
        )
        for row in figures["sizes"]
    ]
    headings = ("pixels", "accuracy", "calibration error", "called unknown", "ms")
    photos = f"{figures['sizes'][0]['photos']:,} photos of {figures['set']}"
    return f"{table(headings, rows)}\n\n{photos}. Measured on {figures['hardware']}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="archive or folder of labeled photos that the model did not learn")
    photos = parser.parse_args().photos
    origin = {"sha256": sha256(RELEASED), "set": photos.stem, "hardware": describe_hardware()}
    write_figures("image_sizes", origin | {"sizes": measure_sizes(RELEASED, photos)})


if __name__ == "__main__":
    main()
