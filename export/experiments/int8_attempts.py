"""Measure what each step of the quantization to int8 contributes.

`python -m export.experiments.int8_attempts` quantizes `artifacts/model.onnx` in every way of `ATTEMPTS`, and compares
the files with the float network on validation photos, never on test photos. It writes
`artifacts/metrics/int8_attempts.json`, from which `make docs` writes the table in export/README.md. If interrupted, run
the command again to resume. Other photos, parameters or another model restart the measurement.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

from export.checks.evaluation import run_all
from export.files import MODEL, megabytes
from export.quantize import (
    STEPS,
    MakeSettings,
    build_weight_ranges,
    copy_metadata,
    count_float_layers,
    find_float_nodes,
    fold_batch_norms,
    optimize,
    quantize,
    use_defaults,
)
from lambda_app.classifier import Classifier
from lambda_app.outputs import Outputs
from training import config
from training.figures import METRICS, Figures, read_figures, write_figures
from training.manifest import MANIFEST, read_manifest
from training.markdown_table import percent, table
from training.photo_dataset import Photos, Preprocessor, read_split, subsample
from training.source import sha256

FIGURES = METRICS / "int8_attempts.json"
MAX_PHOTOS = 400  # of the validation split


@dataclass(frozen=True)
class Attempt:
    """A way to quantize the model: steps before and after the calibration, and settings of the calibration."""

    name: str  # `{first_layers}` stands for the layers that `count_float_layers` chooses for the model
    steps: tuple[str, ...]  # of `STEPS`
    make_settings: MakeSettings


def keep_float(count: int) -> MakeSettings:
    """Return a function that returns the settings that keep `count` layers at the start in float32."""
    return lambda program: {"nodes_to_exclude": find_float_nodes(program, count)}


def quantize_outputs(program: onnx.ModelProto) -> dict[str, Any]:
    """Return the settings that keep one layer at the start in float32, and quantize the outputs of the last layers."""
    return keep_float(1)(program) | {"extra_options": {"TensorQuantOverrides": build_weight_ranges(program)}}


ATTEMPTS = (
    Attempt("calibration alone", (), quantize_outputs),
    Attempt("outputs of the last layers in float32", (), keep_float(1)),
    Attempt("also equalized", ("equalize",), keep_float(1)),
    Attempt("also compensated", STEPS, keep_float(1)),
    Attempt("also {first_layers} in float32 (chosen)", STEPS, use_defaults),
)


def main() -> None:
    calibration, validation = read_photos()
    expected = run_all({"fp32": Classifier.load(MODEL).run}, validation, "fp32")["fp32"]
    attempts, identity = name_attempts(), identify(validation)
    rows = read_finished(identity)
    for name, attempt in attempts.items():
        if name not in rows:
            rows[name] = {"name": name} | measure(name, attempt, calibration, validation, expected)
            write_figures(FIGURES.stem, identity | {"attempts": [rows[each] for each in attempts if each in rows]})
    print(render())


def read_photos() -> tuple[Photos, Photos]:
    """Return the training photos that the pipeline quantizes with, and at most `MAX_PHOTOS` validation photos."""
    to_pixels, rows = Preprocessor(Classifier.load(MODEL).metadata.image_size), read_manifest()
    calibration = subsample(read_split(rows, "train", to_pixels), config.load(config.Quantize).photos)
    return calibration, subsample(read_split(rows, "val", to_pixels), MAX_PHOTOS)


def name_attempts() -> dict[str, Attempt]:
    """Return the attempts by their names, which state how many layers the pipeline keeps in float32."""
    count = count_float_layers(fold_batch_norms(MODEL))
    first_layers = "the first layer" if count == 1 else f"the first {count} layers"
    return {attempt.name.format(first_layers=first_layers): attempt for attempt in ATTEMPTS}


def identify(validation: Photos) -> Figures:
    """Return what the figures of all attempts depend on: the model, the photos and the parameters."""
    return {
        "photos": len(validation),
        "sha256": sha256(MODEL),
        "manifest": sha256(MANIFEST),
        "quantize": asdict(config.load(config.Quantize)),
    }


def read_finished(identity: Figures) -> dict[str, Figures]:
    """Return the figures of the attempts that an earlier run measured with the same identity, by name."""
    found: Figures = read_figures(FIGURES.stem) if FIGURES.exists() else {}
    is_same = all(found.get(key) == value for key, value in identity.items())
    return {row["name"]: row for row in found["attempts"]} if is_same else {}


def measure(name: str, attempt: Attempt, calibration: Photos, validation: Photos, expected: Outputs) -> Figures:
    """Return the size of the int8 file of an attempt in MB, and its errors on the validation photos."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        build(path, calibration, attempt)
        outputs = run_all({name: Classifier.load(path).run}, validation, name)[name]
        return {"mb": megabytes(path)} | compare(outputs, expected)


def build(path: Path, photos: Photos, attempt: Attempt) -> None:
    """Write the int8 file of an attempt."""
    quantized = path.with_stem("quantized")
    quantize(MODEL, quantized, photos, attempt.steps, attempt.make_settings)
    optimize(quantized, path)
    copy_metadata(MODEL, path)


def compare(outputs: Outputs, expected: Outputs) -> Figures:
    """Return the errors of an int8 file against the float network, and the number of photos whose class changes.

    The mean of the classes is subtracted from the logits. Their error is the mean difference, relative to their mean
    magnitude.
    """
    logits, float_logits = (each.logits - each.logits.mean(axis=1, keepdims=True) for each in (outputs, expected))
    return {
        "logit_error": float(np.abs(logits - float_logits).mean() / np.abs(float_logits).mean()),
        "familiarity_error": float(np.abs(outputs.familiarity - expected.familiarity).mean()),
        "changed": int((logits.argmax(axis=1) != float_logits.argmax(axis=1)).sum()),
    }


def render() -> str:
    """Return the table of attempts."""
    figures = read_figures(FIGURES.stem)
    head = ("int8 file", "error of the logits", "error of the familiarity", "classes changed", "MB")
    rows = [
        (
            row["name"],
            percent(row["logit_error"]),
            f"{row['familiarity_error']:.4f}",
            f"{row['changed']} of {figures['photos']}",
            f"{row['mb']:.2f}",
        )
        for row in figures["attempts"]
    ]
    return table(head, rows)


if __name__ == "__main__":
    main()
