"""Files that go through release: the trained network, the same again, a smaller one, one that is always wrong."""

import json
import shutil
import sys
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from export import release
from export.convert import MODEL
from export.registry import Registry
from export.release import CANDIDATES, METRICS, VERIFIED
from tests.export.models import restamp

REGISTRY = Registry("pet-classifier")


def run(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["release", *arguments])
        release.main()


def verified(path, name="fp32"):
    """As verify leaves its choice."""
    shutil.copyfile(path, CANDIDATES / f"{name}.onnx")
    figures = {"sets": {"test": {"accuracy": 0.75}}, "outliers": {}, "size_mb": 1.25, "latency_ms": 2.125}
    behaviour = {"agreement": {"mirrored": 0.875}}
    verdict = {
        "released": name,
        "reason": "it is",
        "candidates": {name: figures},
        "behaviour": behaviour,
        "not_judged": [],
    }
    VERIFIED.write_text(json.dumps(verdict))
    return path.read_bytes()


def released(path, name="fp32"):
    """The bytes of a file that went through the stage, and what the stage wrote about it."""
    data = verified(path, name)
    run()
    return data, json.loads(METRICS.read_text())


def again(version):
    """The same network with another version."""
    path = shutil.copyfile(MODEL, f"{version}.onnx")
    restamp(Path(path), model_version=version)
    return Path(path)


def wrong():
    """The network that says what the trained one thinks least likely."""
    program = onnx.load(MODEL)
    [layer] = [tensor for tensor in program.graph.initializer if list(tensor.dims) == [3, 256]]
    layer.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(layer), layer.name))
    onnx.save(program, "wrong.onnx")
    return Path("wrong.onnx")


def int8():
    """The trained network with weights of eight bits, a third of the size, and Microsoft's own operators."""
    program = onnx.load(MODEL)
    del program.graph.value_info[:]  # quantisation infers shapes of its own
    quantize_dynamic(program, "quantized.onnx", weight_type=QuantType.QUInt8)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = "int8.onnx"
    ort.InferenceSession("quantized.onnx", options, providers=["CPUExecutionProvider"])
    return Path("int8.onnx")


def number(alias):
    version = REGISTRY.holder(alias)
    return None if version is None else str(version.version)
