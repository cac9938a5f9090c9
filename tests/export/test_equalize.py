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
def prepare(export_untrained, tmp_path):
    """Return a function that exports an untrained network with batch norms folded."""

    def export(architecture, frozen_classes=0):
        _, path, _ = export_untrained(architecture, frozen_classes)
        quant_pre_process(path, tmp_path / "prepared.onnx", skip_symbolic_shape=True)
        return onnx.load(tmp_path / "prepared.onnx")

    return export


def run(program, images):
    session = ort.InferenceSession(program.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(OUTPUTS, {"images": images})


@pytest.mark.parametrize("architecture", ["mobilenet_v2_050", "simple_cnn"])
def test_equalized_network_computes_the_same(prepare, architecture):
    """The outputs for photos within the measured ranges stay the same, for every kind of network."""
    program, images = prepare(architecture), pixels(4, SIZE)
    expected = run(program, images)
    equalize(program, [image[None] for image in images])
    for before, after in zip(expected, run(program, images), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3)


def test_channels_get_the_same_range(prepare):
    """Channels of sums get equal ranges, and no channel behind a cap exceeds it by more than the margin allows."""
    program, photos = prepare("mobilenet_v2_050"), [image[None] for image in pixels(4, SIZE)]
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
        factors = CAP / MARGIN
        assert ranges[name].max() <= CAP * (1 + 1e-5)
        assert np.median(ranges[name]) >= factors / MARGIN


def test_inputs_and_outputs_keep_their_scale(prepare):
    """Neither pixels nor logits belong to a group that can be rescaled."""
    groups = find_groups(prepare("mobilenet_v2_050", 200))
    assert {"images", *OUTPUTS}.isdisjoint(set().union(*groups))
