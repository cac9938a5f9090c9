"""Test the candidates: metadata, size and accuracy of int8, and safety on CPUs without VNNI."""

import numpy as np
import onnx
import pytest

from export.files import CANDIDATES, MODEL, PRECISIONS
from export.graph import read_tensors
from export.quantize import copy_metadata, max_magnitudes, optimize, quantize
from lambda_app.classifier import Classifier
from tests.export.untrained_models import Drawings, pixels, restamp


@pytest.fixture(scope="module")
def with_frozen_head(export_untrained, tmp_path_factory):
    """Return the folder of a small timm network with a frozen head of 200 classes, quantized and optimized."""
    folder = tmp_path_factory.mktemp("with_frozen_head")
    _, path, _ = export_untrained("mobilenet_v2_050", 200)
    quantize(path, folder / "quantized.onnx", Drawings())
    optimize(folder / "quantized.onnx", folder / "int8.onnx")
    return folder


def read_int8_tensors(path):
    """Return the int8 tensors of a file that have more than one dimension."""
    tensors = read_tensors(onnx.load(path).graph).values()
    return [tensor for tensor in tensors if tensor.dtype == np.int8 and tensor.ndim > 1]


@pytest.mark.parametrize("name", PRECISIONS)
def test_candidates_keep_metadata(candidates, name):
    """Every candidate has exactly the metadata of the exported file."""
    path = CANDIDATES / f"{name}.onnx"
    assert Classifier.load(MODEL).metadata == Classifier.load(path).metadata
    assert onnx.load(MODEL).metadata_props == onnx.load(path).metadata_props


def test_copy_metadata_restores_keys(candidates):
    """Keys that a tool dropped are restored, and keys that it added are removed."""
    path = CANDIDATES / "int8.onnx"
    restamp(path, without="run_id", **{"onnx.infer": "tool"})
    copy_metadata(MODEL, path)
    assert onnx.load(MODEL).metadata_props == onnx.load(path).metadata_props


def test_int8_is_a_third_of_fp32(candidates):
    """8-bit weights shrink the file to less than a third."""
    sizes = {name: (CANDIDATES / f"{name}.onnx").stat().st_size for name in ("fp32", "int8")}
    assert sizes["int8"] < sizes["fp32"] / 3


@pytest.mark.parametrize("count", [1, 2, 7])
def test_int8_predicts_the_classes_of_fp32(candidates, count):
    """int8 and fp32 predict the same classes of drawings at any batch size."""
    images = pixels(count, 32)
    int8, fp32 = (Classifier.load(CANDIDATES / f"{name}.onnx").run(images) for name in ("int8", "fp32"))
    assert fp32.probabilities.argmax(1).tolist() == int8.probabilities.argmax(1).tolist()
    np.testing.assert_allclose(int8.logits, fp32.logits, atol=0.1 * np.abs(fp32.logits).max())


def test_frozen_head_is_quantized(with_frozen_head):
    """The weights of the frozen head, which can be a quarter of all weights, are int8, too."""
    assert (200, 1280) in {tuple(sorted(tensor.shape)) for tensor in read_int8_tensors(with_frozen_head / "int8.onnx")}


def test_sums_of_two_products_fit_16_bits(with_frozen_head):
    """Two neighboring weights of the same sign sum to at most 128; 255 times that fits a signed 16-bit integer."""
    dense = [t for t in read_int8_tensors(with_frozen_head / "quantized.onnx") if t.shape[1] > 1]
    for weights in dense:
        rows = weights.reshape(len(weights), -1).astype(int)
        pairs = rows[:, : rows.shape[1] // 2 * 2].reshape(len(rows), -1, 2)
        assert pairs.clip(min=0).sum(axis=2).max() <= 128
        assert pairs.clip(max=0).sum(axis=2).min() >= -128
    assert 20 < len(dense)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (np.array([[3.0, 2.0, 4.0]]), 5.0),  # 3 and 2 are neighbors; 4 has no neighbor
        (np.array([[-3.0, -2.0, 1.0, -1.0]]), 5.0),
        (np.array([[3.0, -3.0, 4.0, 0.0]]), 4.0),  # weights of opposite signs do not add up
        (np.array([[3.0, 2.0]]).reshape(1, 2, 1, 1), 5.0),
        (np.array([[3.0, -3.0, 4.0, 0.0]]).reshape(1, 4, 1, 1), 4.0),
        (
            np.array([3.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 1.0]).reshape(1, 2, 2, 2),
            5.0,
        ),  # any two may be neighbors
        (np.array([3.0, 2.0, 4.0, 0.0]).reshape(1, 1, 2, 2), 4.0),  # depthwise
    ],
)
def test_max_magnitude_bounds_sums_of_neighbors(weights, expected):
    """127 represents the largest weight, or the largest sum of two neighbors of the same sign."""
    assert [expected] == max_magnitudes(weights.astype(np.float32)).tolist()


def test_int8_uses_no_cpu_specific_layout(with_frozen_head):
    """The file has no operator with a memory layout for the CPU that wrote it."""
    assert "com.microsoft.nchwc" not in {node.domain for node in onnx.load(with_frozen_head / "int8.onnx").graph.node}


def test_int8_keeps_outputs_in_float32(with_frozen_head):
    """Softmax and familiarity are computed in float32, and the layers in int8."""
    operators = {node.op_type for node in onnx.load(with_frozen_head / "int8.onnx").graph.node}
    assert {"QLinearConv", "QGemm", "Softmax", "MatMul"} <= operators
    assert operators.isdisjoint({"QLinearSoftmax", "QLinearMatMul"})


def test_stage_writes_only_candidates(candidates):
    """The stage leaves no temporary files of the optimizer and the quantizer beside the candidates."""
    assert {f"{name}.onnx" for name in PRECISIONS} == {path.name for path in CANDIDATES.iterdir()}
