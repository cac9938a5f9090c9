"""Test that channels are rescaled to equal ranges without changing what the network computes."""

import copy
from functools import cache

import numpy as np
import onnxruntime as ort
import pytest

from export.equalize import CAP, MARGIN, equalize, find_groups, measure_ranges
from export.quantize import fold_batch_norms
from lambda_app.classifier import OUTPUTS
from tests.export.untrained_models import SIZE, pixels

FROZEN_CLASSES = {
    "mobilenet_v2_050": 200,
    "simple_cnn": 0,
}  # as in test_activation_map.py, which shares the exported files


@pytest.fixture(scope="module")
def export_folded(export_untrained):
    """Return a function that returns a copy of the graph of an untrained network with batch norms folded."""

    @cache
    def fold(architecture):
        _, path, _ = export_untrained(architecture, FROZEN_CLASSES[architecture])
        return fold_batch_norms(path)

    return lambda architecture: copy.deepcopy(fold(architecture))


def run(program, images):
    """Return the outputs of a graph."""
    session = ort.InferenceSession(program.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(OUTPUTS, {"images": images})


@pytest.mark.parametrize("architecture", FROZEN_CLASSES)
def test_equalized_network_computes_the_same(export_folded, architecture):
    """The outputs for photos within the measured ranges stay the same, with ReLU6 and with ReLU."""
    program, images = export_folded(architecture), pixels(4, SIZE)
    expected = run(program, images)
    equalize(program, [image[None] for image in images])
    for before, after in zip(expected, run(program, images), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3)


def test_channels_get_the_same_range(export_folded):
    """Channels that a residual addition joins get equal ranges. Channels behind ReLU6 stay below its cap."""
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
    groups = find_groups(export_folded("mobilenet_v2_050"))
    assert len(groups) > 1
    assert sorted(groups, key=min) == groups


def test_inputs_and_outputs_keep_their_scale(export_folded):
    """Neither the pixels nor an output belong to a group that can be rescaled."""
    groups = find_groups(export_folded("mobilenet_v2_050"))
    assert {"images", *OUTPUTS}.isdisjoint(set().union(*groups))
