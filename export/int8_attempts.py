"""Measure what each step of the quantization to int8 contributes, and settings that were rejected.

`python -m export.int8_attempts` quantizes `artifacts/model.onnx` in every way of `ATTEMPTS`, and compares the files
with the float network on validation photos, never on test photos. It writes `artifacts/metrics/int8_attempts.json`,
from which `make docs` writes the table in export/README.md. If interrupted, run the command again to resume.
"""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod

from export.checks.evaluation import run_all
from export.compensate import compensate
from export.convert import MODEL
from export.equalize import WEIGHTED_OPERATORS, equalize
from export.quantize import (
    FLOAT_OPERATORS,
    REPRESENTATIVE,
    build_weight_ranges,
    calibrate,
    copy_metadata,
    fold_batch_norms,
    optimize,
    read_pixels,
)
from lambda_app.classifier import Classifier, Outputs
from training import config
from training.data import Photos, Preprocessor, read_manifest, read_split, subsample
from training.source import sha256
from training.tools.results_page import percent, table

FIGURES = Path("artifacts/metrics/int8_attempts.json")
PHOTOS = 400  # validation photos
CHOSEN = "also three layers at the start in float32 (chosen)"
Figures = dict[str, Any]
Settings = Callable[[onnx.ModelProto], dict[str, Any]]  # arguments of `quantize_static` that differ


def main() -> None:
    classifier = Classifier.load(MODEL)
    load, rows = Preprocessor(classifier.metadata.image_size), read_manifest()
    photos = subsample(read_split(rows, "train", load), config.load(config.Quantize).photos)
    validation = subsample(read_split(rows, "val", load), PHOTOS)
    expected = run_all({"fp32": classifier.run}, validation, "fp32")["fp32"]
    figures = read_figures({"photos": len(validation), "sha256": sha256(MODEL), "attempts": []})
    finished = {each["name"] for each in figures["attempts"]}
    for name, (steps, settings) in ATTEMPTS.items():
        if name in finished:
            continue
        with TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            build(path, photos, steps, settings)
            outputs = run_all({name: Classifier.load(path).run}, validation, name)[name]
            figures["attempts"].append({"name": name, "mb": path.stat().st_size / 1e6} | compare(outputs, expected))
        FIGURES.write_text(json.dumps(figures, indent=2) + "\n")
    print(render())


def read_figures(empty: Figures) -> Figures:
    """Return the figures of an interrupted run on the same photos and model, or else the empty ones."""
    found: Figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else empty
    return found if all(found.get(key) == empty[key] for key in ("photos", "sha256")) else empty


def build(path: Path, photos: Photos, steps: tuple[str, ...], settings: Settings) -> None:
    """Write the int8 file of an attempt."""
    program = fold_batch_norms(MODEL)
    if "equalize" in steps:
        equalize(program, read_pixels(photos, "equalize", len(photos)))
    quantized_path = path.with_stem("quantized")
    calibrate(program, quantized_path, photos, **settings(program))
    if "compensate" in steps:
        quantized = onnx.load(quantized_path)
        compensate(program, quantized, read_pixels(photos, "compensate", REPRESENTATIVE))
        onnx.save(quantized, quantized_path)
    optimize(quantized_path, path)
    copy_metadata(MODEL, path)


def compare(outputs: Outputs, expected: Outputs) -> Figures:
    """Return the errors of an int8 file against the float network, and how many classes change.

    The error of the logits is relative to their mean distance from the mean of the classes.
    """
    logits, float_logits = (each.logits - each.logits.mean(axis=1, keepdims=True) for each in (outputs, expected))
    return {
        "logit_error": float(np.abs(logits - float_logits).mean() / np.abs(float_logits).mean()),
        "familiarity_error": float(np.abs(outputs.familiarity - expected.familiarity).mean()),
        "changed": int((logits.argmax(axis=1) != float_logits.argmax(axis=1)).sum()),
    }


def keep_float(count: int) -> Settings:
    """Return the settings that keep `count` layers at the start in float32."""

    def settings(program: onnx.ModelProto) -> dict[str, Any]:
        layers = [node.name for node in program.graph.node if node.op_type in WEIGHTED_OPERATORS]
        others = [node.name for node in program.graph.node if node.op_type in FLOAT_OPERATORS]
        return {"nodes_to_exclude": [*layers[:count], *others]}

    return settings


def quantize_outputs(program: onnx.ModelProto) -> dict[str, Any]:
    return keep_float(1)(program) | {"extra_options": {"TensorQuantOverrides": build_weight_ranges(program)}}


def use_defaults(_: onnx.ModelProto) -> dict[str, Any]:
    return {}


BOTH = ("equalize", "compensate")
ATTEMPTS: dict[str, tuple[tuple[str, ...], Settings]] = {
    "calibration alone": ((), quantize_outputs),
    "outputs of the last layers in float32": ((), keep_float(1)),
    "also equalized": (("equalize",), keep_float(1)),
    "also compensated": (BOTH, keep_float(1)),
    CHOSEN: (BOTH, use_defaults),
    "the chosen settings, not equalized": (("compensate",), use_defaults),
    "the chosen settings, not compensated": (("equalize",), use_defaults),
    "the chosen settings, six layers in float32": (BOTH, keep_float(6)),
    "the chosen settings, ranges at the 99.99th percentile": (
        BOTH,
        lambda _: {"calibrate_method": CalibrationMethod.Percentile},
    ),
}


def render(path: Path = FIGURES) -> str:
    """Return the table of attempts, or a sentence that there is none."""
    if not path.exists():
        return "Not measured yet."
    figures = json.loads(path.read_text())
    head = ("int8 file", "error of the logits", "error of the familiarity", "classes changed", "MB")
    rows = [
        (
            each["name"],
            percent(each["logit_error"]),
            f"{each['familiarity_error']:.4f}",
            f"{each['changed']} of {figures['photos']}",
            f"{each['mb']:.2f}",
        )
        for each in figures["attempts"]
    ]
    return table(head, rows)


if __name__ == "__main__":
    main()
