"""Make challengers for the release stage: the trained network, a copy, a smaller file and one that is always wrong."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import mlflow
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from export import release
from export.card import NOTES, TEMPLATE
from export.files import CANDIDATES, MODEL
from export.registry import Registry
from tests.export.untrained_models import restamp
from tests.support import ROOT
from training.figures import read_figures, write_figures

REGISTRY = Registry("pet-classifier")


@contextmanager
def copy_with_store(trained: Path, folder: Path) -> Iterator[None]:
    """Make a copy of the trained project with its own MLflow store the working directory."""
    shutil.copytree(trained, folder, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("mlruns"))
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        yield
    for texts in trained.glob("mlruns/*/*/artifacts/version *"):  # MLflow keeps the folder of a run, also in a copy
        shutil.rmtree(texts)


def write_sources():
    """Copy the sources of the card that Git tracks to the working directory."""
    for name in (TEMPLATE, NOTES):
        shutil.copyfile(ROOT / name, name)
    Path("data").mkdir(exist_ok=True)
    shutil.copyfile(ROOT / "data/datasets.yaml", "data/datasets.yaml")
    write_figures("attempts", [])
    write_figures("activation_map", {"sha256": "of another file"})


def run_stage(*arguments):
    """Run the release stage with command-line arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["release", *arguments])
        release.main()


def write_verification(path, name="fp32"):
    """Write the candidate and the report as the verify stage does, and return the bytes of the file."""
    shutil.copyfile(path, CANDIDATES / f"{name}.onnx")
    figures = {"sets": {"test": {"accuracy": 0.75}}, "outliers": {}, "size_mb": 1.25, "latency_ms": 2.125}
    verdict = {
        "selected": name,
        "reason": "the test selects it",
        "candidates": {name: figures},
        "behavior": {"agreement": {"mirrored": 0.875}},
        "not_judged": [],
    }
    write_figures("verify", verdict)
    return path.read_bytes()


def release_file(path, name="fp32"):
    """Run the stage for a file; return its bytes and the outcome that the stage wrote."""
    data = write_verification(path, name)
    run_stage()
    return data, read_figures("release")


def make_copy(version):
    """Write the trained network with another model version."""
    path = shutil.copyfile(MODEL, f"{version}.onnx")
    restamp(Path(path), model_version=version)
    return Path(path)


def make_wrong():
    """Write a network that predicts the class that the trained one considers least likely."""
    program = onnx.load(MODEL)
    [layer] = [tensor for tensor in program.graph.initializer if list(tensor.dims) == [3, 256]]
    layer.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(layer), layer.name))
    onnx.save(program, "wrong.onnx")
    return Path("wrong.onnx")


def make_old_contract(path=MODEL):
    """Return the bytes of a model without the familiarity output, which the serving code cannot load."""
    program = onnx.load(path)
    del program.graph.output[2]
    return program.SerializeToString()


def make_int8():
    """Write the trained network with 8-bit weights: a third of the size, with Microsoft's operators."""
    program = onnx.load(MODEL)
    del program.graph.value_info[:]  # the quantizer infers shapes itself
    quantize_dynamic(program, "quantized.onnx", weight_type=QuantType.QUInt8)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = "int8.onnx"
    ort.InferenceSession("quantized.onnx", options, providers=["CPUExecutionProvider"])
    return Path("int8.onnx")


def find_stored_file(alias):
    """Return the path of the file of a version in the store."""
    [path] = Path(mlflow.artifacts.download_artifacts(f"models:/pet-classifier@{alias}")).glob("*.onnx")
    return path


def version_number(alias):
    """Return the version number that an alias points to, or None."""
    version = REGISTRY.find_alias(alias)
    return None if version is None else str(version.version)
