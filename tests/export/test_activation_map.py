"""Test the activation maps: of float files against PyTorch's, of all candidates against fp32's."""

import shutil

import numpy as np
import onnx
import pytest
import torch

from export.activation_map import add_activation_map
from export.checks.activation_maps import MIN_CORRELATION, compute_maps, correlate
from export.fp16 import convert_to_fp16
from export.quantize import optimize
from lambda_app.classifier import OUTPUTS, Classifier
from tests.export.untrained_models import METADATA, SIZE, pixels
from tests.support import tiny_model
from training.source import sha256

EXPLAINABLE = [("mobilenet_v2_050", 200), ("simple_cnn", 0), ("improved_cnn", 0)]
UNEXPLAINABLE = [("logistic", 0), ("mobilenet_v3_small", 0)]  # no pooling; a layer between pooling and the last one


@pytest.fixture(scope="module", params=EXPLAINABLE, ids=lambda param: param[0])
def explained(request, export_untrained, tmp_path_factory):
    """Return a network, the classifier of its optimized file, and that of the same file with the map."""
    module, exported, _ = export_untrained(*request.param)
    plain, path = (tmp_path_factory.mktemp("maps") / name for name in ("plain.onnx", "map.onnx"))
    optimize(exported, plain)
    program = onnx.load(plain)
    onnx.helper.set_model_props(program, METADATA.to_props())
    onnx.save(program, plain)
    shutil.copy(plain, path)
    assert add_activation_map(path)
    return module, Classifier.load(plain), Classifier.load(path)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_map_matches_pytorch(explained, count):
    """The map equals the one that PyTorch computes from features and class weights, at any batch size."""
    module, _, classifier = explained
    images = pixels(count, SIZE)
    expected = compute_maps(module.network, images)
    measured = classifier.run(images, explain=True).activation_map
    np.testing.assert_allclose(measured, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert expected.std(axis=(1, 2)).min() > 0


def test_mean_of_the_map_is_the_logit(explained):
    """In a float file, the mean of a map plus the bias of the predicted class is the logit of this class."""
    module, _, classifier = explained
    outputs = classifier.run(pixels(7, SIZE), explain=True)
    with torch.inference_mode():
        bias = module.network.head.bias.numpy()[outputs.logits.argmax(1)]
    means = outputs.activation_map.mean((1, 2)) + bias
    np.testing.assert_allclose(means, outputs.logits.max(1), rtol=1e-4, atol=1e-5)


def test_other_outputs_are_the_same_to_the_bit(explained):
    """Adding the map changes no bit of the other outputs, whether a run requests it or not."""
    _, plain, classifier = explained
    images = pixels(7, SIZE)
    expected = plain.run(images)
    for explain in (False, True):
        outputs = classifier.run(images, explain=explain)
        assert [True] * 3 == [np.array_equal(getattr(expected, name), getattr(outputs, name)) for name in OUTPUTS]


def test_map_is_computed_only_on_request(explained):
    """Without the input `explain`, the map is empty, although the run requests this output."""
    _, _, classifier = explained
    assert ["images"] == [each.name for each in classifier.session.get_inputs()]
    assert ["explain"] == [each.name for each in classifier.session.get_overridable_initializers()]
    [activation_map] = classifier.session.run(["activation_map"], {"images": pixels(2, SIZE)})
    assert (0, 0, 0) == activation_map.shape


def test_map_is_added_once(tmp_path):
    """A file that has the map is not changed."""
    path = tiny_model.write(tmp_path / "tiny.onnx")
    digest = sha256(path)
    assert (True, digest) == (add_activation_map(path), sha256(path))


@pytest.mark.parametrize(("architecture", "frozen_classes"), UNEXPLAINABLE)
def test_network_without_final_pooling_gets_no_map(export_untrained, tmp_path, architecture, frozen_classes):
    """If the logits are not a sum over positions, the file is not changed, and PyTorch has no map either."""
    module, exported, _ = export_untrained(architecture, frozen_classes)
    path = tmp_path / "model.onnx"
    shutil.copy(exported, path)
    assert (False, sha256(exported)) == (add_activation_map(path), sha256(path))
    assert compute_maps(module.network, pixels(2, SIZE)) is None


def test_map_of_fp16_weights(export_untrained, tmp_path):
    """The map of an fp16 file correlates with PyTorch's, and adds less than 1 kB to the file."""
    module, exported, _ = export_untrained("mobilenet_v2_050", 200)
    path = tmp_path / "model.onnx"
    shutil.copy(exported, path)
    convert_to_fp16(path)
    size = path.stat().st_size
    assert add_activation_map(path)
    assert path.stat().st_size < size + 1000
    images = pixels(3, SIZE)
    maps = Classifier.load(path).run(images, explain=True).activation_map
    assert np.mean(correlate(maps, compute_maps(module.network, images))) > MIN_CORRELATION
