"""Two candidates from one file: fp32 fused for the runtime, int8 in a third of the space, safe on every CPU."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.convert import MODEL, Exported, export, stamp
from export.quantize import CANDIDATES, PRECISIONS, magnitudes, optimise, quantize, stamp_like
from lambda_app.classifier import Classifier
from tests.export.models import pixels, restamp, untrained
from tests.export.test_convert import METADATA, SIZE
from training.calibration import Calibration


class Drawings:
    """Sixteen of them, as `Photos` gives them out."""

    def __init__(self):
        self.pixels = pixels(16, SIZE)

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.pixels[index], 0


@pytest.fixture(scope="module")
def remembering(tmp_path_factory):
    """A small network of timm's with a memory of 200 classes: exported, quantised, and optimised."""
    folder = tmp_path_factory.mktemp("remembering")
    network = untrained("mobilenet_v2_050", 3, SIZE, frozen_classes=200)
    calibration = Calibration(1.7, tuple(np.linspace(0, 1, 200).tolist()), METADATA.unknown_threshold)
    program = export(Exported(network, calibration).eval(), SIZE, opset=20)
    stamp(program, METADATA)
    onnx.save(program, folder / "model.onnx")
    quantize(folder / "model.onnx", folder / "quantised.onnx", Drawings())
    optimise(folder / "quantised.onnx", folder / "int8.onnx")
    stamp_like(folder / "model.onnx", folder / "int8.onnx")
    return folder


def int8(path):
    """The int8 tensors of a file with more than one dimension, by name."""
    tensors = (numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer)
    return [tensor for tensor in tensors if tensor.dtype == np.int8 and tensor.ndim > 1]


@pytest.mark.parametrize("name", PRECISIONS)
def test_metadata_is_kept(candidates, name):
    """Both candidates say of themselves what the exported file says, and nothing else."""
    path = CANDIDATES / f"{name}.onnx"
    assert Classifier.load(MODEL).metadata == Classifier.load(path).metadata
    assert onnx.load(MODEL).metadata_props == onnx.load(path).metadata_props


def test_dropped_metadata_is_stamped_again(candidates):
    """A tool that loses or adds metadata changes nothing."""
    path = CANDIDATES / "int8.onnx"
    restamp(path, without="run_id", **{"onnx.infer": "tool"})
    stamp_like(MODEL, path)
    assert onnx.load(MODEL).metadata_props == onnx.load(path).metadata_props


def test_int8_is_small(candidates):
    """Weights of a byte make a file of less than a third."""
    sizes = {name: (CANDIDATES / f"{name}.onnx").stat().st_size for name in ("fp32", "int8")}
    assert sizes["int8"] < sizes["fp32"] / 3


@pytest.mark.parametrize("count", [1, 2, 7])
def test_int8_answers_alike(candidates, count):
    """On drawings, at any batch size, int8 names the classes that fp32 names."""
    images = pixels(count, 32)
    ours, theirs = (Classifier.load(CANDIDATES / f"{name}.onnx").run(images) for name in ("int8", "fp32"))
    assert theirs.probabilities.argmax(1).tolist() == ours.probabilities.argmax(1).tolist()
    np.testing.assert_allclose(ours.logits, theirs.logits, atol=0.1 * np.abs(theirs.logits).max())


def test_memory_is_quantised(remembering):
    """The weights of the frozen head, which may be a quarter of all, are bytes as well."""
    assert (200, 1280) in {tuple(sorted(tensor.shape)) for tensor in int8(remembering / "int8.onnx")}


def test_no_two_products_overflow(remembering):
    """Two neighbouring weights of a sign come to 128 at most: times 255 they fit the 16 bits of a CPU without VNNI."""
    dense = [t for t in int8(remembering / "quantised.onnx") if t.shape[1] > 1]
    for weights in dense:
        rows = weights.reshape(len(weights), -1).astype(int)
        pairs = rows[:, : rows.shape[1] // 2 * 2].reshape(len(rows), -1, 2)
        assert pairs.clip(min=0).sum(axis=2).max() <= 128
        assert pairs.clip(max=0).sum(axis=2).min() >= -128
    assert 20 < len(dense)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (np.array([[3.0, 2.0, 4.0]]), 5.0),  # 3 and 2 are neighbours, 4 stands alone
        (np.array([[-3.0, -2.0, 1.0, -1.0]]), 5.0),
        (np.array([[3.0, -3.0, 4.0, 0.0]]), 4.0),  # of two signs: they take from each other
        (np.array([[3.0, 2.0]]).reshape(1, 2, 1, 1), 5.0),
        (np.array([[3.0, -3.0, 4.0, 0.0]]).reshape(1, 4, 1, 1), 4.0),
        (np.array([3.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 1.0]).reshape(1, 2, 2, 2), 5.0),  # anyone may be a neighbour
        (np.array([3.0, 2.0, 4.0, 0.0]).reshape(1, 1, 2, 2), 4.0),  # depthwise
    ],
)
def test_magnitudes(weights, expected):
    """127 stands for the largest weight, or for the largest sum of two of a sign that may be added in 16 bits."""
    assert [expected] == magnitudes(weights.astype(np.float32)).tolist()


def test_portable(remembering):
    """No operator is laid out for the CPU that wrote the file."""
    assert "com.microsoft.nchwc" not in {node.domain for node in onnx.load(remembering / "int8.onnx").graph.node}


def test_what_follows_the_network_stays_in_floats(remembering):
    """Softmax and familiarity are not among the quantised operators."""
    operators = {node.op_type for node in onnx.load(remembering / "int8.onnx").graph.node}
    assert {"QLinearConv", "QGemm", "Softmax", "MatMul"} <= operators
    assert operators.isdisjoint({"QLinearSoftmax", "QLinearMatMul"})


def test_one_file_each(candidates):
    """Nothing but the candidates is left behind, neither by the optimiser nor by the quantiser."""
    assert {f"{name}.onnx" for name in PRECISIONS} == {path.name for path in CANDIDATES.iterdir()}
