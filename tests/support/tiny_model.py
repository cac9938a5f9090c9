"""Write a real ONNX model of a few weights that classifies red as cat, blue as dog and gray as unknown."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.activation_map import add_activation_map
from lambda_app.metadata import Metadata

METADATA = Metadata(
    class_names=("cat", "dog"),
    image_size=32,
    model_version="2026.01.01-tiny",
    run_id="0" * 32,
    architecture="tiny",
    parameters=6,
    temperature=1.0,
    unknown_threshold=0.75,
    data_hash="f" * 64,
    git_commit="unknown",
    metrics={"test": {"accuracy": 1.0}},
)


def write(path: Path, metadata: Metadata | None = METADATA, *, with_map: bool = True) -> Path:
    """Write the model, and return its path.

    The logits are ((mean red) - (mean blue)) / 64 and its negative. The familiarity is the log-sum-exp of the logits,
    as for a network without a frozen head. The map has the size of the image: its values are ±(red - blue) / 64.
    """
    weights = np.array([[1, 0, -1], [-1, 0, 1]], np.float32) / 64  # (2, 3)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("GlobalAveragePool", ["float"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["color"]),
            helper.make_node("Gemm", ["color", "weights"], ["logits"], transB=1),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
            helper.make_node("ReduceLogSumExp", ["logits", "classes"], ["familiarity"], keepdims=0),
        ],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 3, 32, 32])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2]),
            helper.make_tensor_value_info("familiarity", TensorProto.FLOAT, ["N"]),
        ],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([1]), "classes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if metadata is not None:
        helper.set_model_props(model, metadata.to_props())
    onnx.save(model, path)
    if with_map:
        assert add_activation_map(path)
    return path
