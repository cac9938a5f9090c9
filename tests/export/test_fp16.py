"""Test the conversion of weights to 16 bits."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.fp16 import MIN_ELEMENTS, convert_to_fp16
from lambda_app.classifier import OUTPUTS, Classifier
from tests.export.untrained_models import pixels

LARGE = np.linspace(-1, 1, 2 * MIN_ELEMENTS, dtype=np.float32).reshape(2, MIN_ELEMENTS)
SMALL = np.float32([0.1, 0.2])


def write(path, large=LARGE):
    """Write a model that computes y = x @ large + small."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "large"], ["xl"]), helper.make_node("Gemm", ["xl", "eye", "small"], ["y"])],
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", MIN_ELEMENTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [
            numpy_helper.from_array(large.T, "large"),
            numpy_helper.from_array(np.eye(2, dtype=np.float32), "eye"),
            numpy_helper.from_array(SMALL, "small"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_fp16_converts_only_large_tensors(tmp_path):
    """A matrix of 2,000 numbers is stored in 16 bits; a bias of two is unchanged."""
    path = write(tmp_path / "two.onnx")
    convert_to_fp16(path)
    program = onnx.load(path)
    onnx.checker.check_model(program, full_check=True)
    types = {tensor.name: tensor.data_type for tensor in program.graph.initializer}
    assert {"large.half": TensorProto.FLOAT16, "eye": TensorProto.FLOAT, "small": TensorProto.FLOAT} == types


def test_fp16_rejects_overflow(tmp_path):
    """A weight beyond the range of float16 raises an error that names the tensor."""
    path = write(tmp_path / "two.onnx", LARGE * 1e6)
    with pytest.raises(ValueError, match="large has values beyond 65,504"):
        convert_to_fp16(path)


def test_fp16_halves_a_network(converted, tmp_path):
    """The file shrinks to less than 60 %, and each probability is equal to three digits."""
    path = tmp_path / "model.onnx"
    path.write_bytes((converted / "artifacts/model.onnx").read_bytes())
    before = Classifier.load(path)
    convert_to_fp16(path)
    after = Classifier.load(path)
    assert 0.6 * (converted / "artifacts/model.onnx").stat().st_size > path.stat().st_size
    assert OUTPUTS == tuple(output.name for output in after.session.get_outputs())
    photos = pixels(8, 32)
    np.testing.assert_allclose(after.run(photos).probabilities, before.run(photos).probabilities, atol=1e-3)
