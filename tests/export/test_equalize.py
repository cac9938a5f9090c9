"""Test that channels are rescaled to equal ranges without changing what the network computes."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnxruntime.quantization.shape_inference import quant_pre_process

from export.equalize import CAP, MARGIN, equalize, find_groups, measure_ranges
from lambda_app.classifier import OUTPUTS
from tests.export.untrained_models import SIZE, pixels


@pytest.fixture
def export_folded(export_untrained, tmp_path):
    """Return a function that exports an untrained network with batch norms folded."""

    def export(architecture, frozen_classes=0):
        _, path, _ = export_untrained(architecture, frozen_classes)
        quant_pre_process(path, tmp_path / "folded.onnx", skip_symbolic_shape=True)
        return onnx.load(tmp_path / "folded.onnx")

    return export


def run(program, images):
    """Return the outputs of a graph."""
    session = ort.InferenceSession(program.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(OUTPUTS, {"images": images})


@pytest.mark.parametrize("architecture", ["mobilenet_v2_050", "simple_cnn"])
def test_equalized_network_computes_the_same(export_folded, architecture):
    """The outputs for photos within the measured ranges stay the same, with ReLU6 and with ReLU."""
    program, images = export_folded(architecture), pixels(4, SIZE)
    expected = run(program, images)
    equalize(program, [image[None] for image in images])
    for before, after in zip(expected, run(program, images), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3)


def test_channels_get_the_same_range(export_folded):
    """Channels of sums get equal ranges. Channels behind ReLU6 stay below its cap, and most have a similar range."""
    program, photos = export_folded("mobilenet_v2_050"), [image[None] for image in pixels(4, SIZE)]
    groups = find_groups(program)
    equalize(program, photos)
    capped = {node.output[0] for node in program.graph.node if node.op_type == "Clip"}
    ranges = measure_ranges(program, sorted({name for group in groups for name in group}), photos)
    sums = [group for group in groups if not group & capped]
    assert sums
    for group in sums:
        largest = np.max([ranges[name] for name in group], axis=0)
        assert largest.max() <= 1.01 * np.median(largest)
    for name in capped & ranges.keys():
        assert ranges[name].max() <= CAP * (1 + 1e-5)
        assert np.median(ranges[name]) >= CAP / MARGIN**2


def test_order_of_groups_is_reproducible(export_folded):
    """Groups are sorted by name, so that Python's hash seed does not decide how the weights are rounded."""
    groups = find_groups(export_folded("mobilenet_v2_050", 200))
    assert len(groups) > 1
    assert sorted(groups, key=min) == groups


def test_inputs_and_outputs_keep_their_scale(export_folded):
    """Neither the pixels nor an output belong to a group that can be rescaled."""
    groups = find_groups(export_folded("mobilenet_v2_050", 200))
    assert {"images", *OUTPUTS}.isdisjoint(set().union(*groups))
