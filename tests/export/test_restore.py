"""Test that a checkpoint that was restored from a released file computes what the file does."""

import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from export import restore
from export.files import CANDIDATES, RELEASED
from export.quantize import quantize
from lambda_app.classifier import Classifier
from tests.export.untrained_models import SIZE, Drawings, pixels, restamp
from training.calibration import CALIBRATION, Calibration
from training.interruption import UserError
from training.model import CHECKPOINT, load_checkpoint


@pytest.fixture
def release(candidates):
    """Return a function that releases a candidate in a project without checkpoint and calibration."""

    def place(name):
        shutil.copyfile(CANDIDATES / f"{name}.onnx", RELEASED)
        for path in (CHECKPOINT, CALIBRATION):
            path.unlink()

    return place


@pytest.mark.parametrize("name", ["fp32", "fp16"])
def test_restored_network_computes_the_same(release, name):
    """The restored network has the logits of the released file, and its calibration the numbers of its metadata."""
    release(name)
    restore.main([])
    network, checkpoint = load_checkpoint()
    classifier, images = Classifier.load(RELEASED), pixels(4, 32)
    with torch.inference_mode():
        logits = network(torch.from_numpy(images))[0].numpy()
    np.testing.assert_allclose(logits, classifier.run(images).logits, rtol=1e-3, atol=1e-4)
    assert classifier.metadata.run_id == checkpoint["run_id"]
    assert classifier.metadata.unknown_threshold == Calibration.read().unknown_threshold


def test_frozen_head_is_restored(export_untrained):
    """The frozen head, which predicts classes of the pretraining, is restored with its weights."""
    module, path, _ = export_untrained("mobilenet_v2_050", 200)
    metadata = replace(Classifier.load(path).metadata, architecture="mobilenet_v2_050")
    network = restore.restore_network(restore.read_arrays(path), metadata)
    images = torch.from_numpy(pixels(2, SIZE))
    with torch.inference_mode():
        for expected, actual in zip(module.network(images), network(images), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3)


QUANTIZED = "is quantized to int8; expected fp32 or fp16"


def test_int8_cannot_be_restored(release):
    """An int8 file is refused, because its weights have 8 bits."""
    release("int8")
    with pytest.raises(UserError, match=QUANTIZED):
        restore.main([])


def test_int8_without_fused_operators_cannot_be_restored(export_untrained, tmp_path):
    """A file with QuantizeLinear and DequantizeLinear, which no optimizer has fused to QLinearConv, is refused, too."""
    _, source, _ = export_untrained("simple_cnn", 0)
    path = tmp_path / "int8.onnx"
    quantize(source, path, Drawings())
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert "DequantizeLinear" in operators
    assert "QLinearConv" not in operators
    with pytest.raises(UserError, match=QUANTIZED):
        restore.read_arrays(path)


def test_other_training_is_refused(release):
    """Metrics of another run are refused, because the checkpoint would get the parameters of that run."""
    release("fp32")
    restamp(RELEASED, run_id="0" * 32)
    with pytest.raises(UserError, match=f"expected {'0' * 32}"):
        restore.main([])


def test_missing_tensor_is_named(release):
    """A file that lacks the weights of a layer is refused with the name of the tensor."""
    release("fp32")
    arrays = restore.read_arrays(RELEASED)
    metadata = Classifier.load(RELEASED).metadata
    del arrays["network.head.weight"]
    with pytest.raises(UserError, match=r"network.head.weight is missing"):
        restore.restore_network(arrays, metadata)
