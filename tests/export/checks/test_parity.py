"""Test the parity gates between fp32 and PyTorch."""

import numpy as np
import pytest

from export.checks.parity import check_batch_parity, check_set_parity
from lambda_app.outputs import Outputs
from tests.export.untrained_models import pixels


def make_outputs(*probabilities):
    return Outputs(np.float32(probabilities), np.float32(probabilities), np.zeros(len(probabilities), np.float32))


@pytest.mark.parametrize(
    ("exported", "trained", "count"),
    [
        ((0.9, 0.1), (0.9, 0.1), 0),
        ((0.6, 0.4), (0.4, 0.6), 1),
        ((0.50001, 0.49999), (0.49999, 0.50001), 0),  # a tie within the limit
    ],
)
def test_different_predictions_exclude_ties(exported, trained, count):
    """A photo counts if the classes differ, unless PyTorch's two best classes are closer than the limit allows."""
    outputs = {"fp32": make_outputs(exported, (0.8, 0.2)), "pytorch": make_outputs(trained, (0.8, 0.2))}
    gates = {gate.name: gate.measured for gate in check_set_parity("test", outputs, limit=1e-4)}
    assert count == gates["different_predictions_test"]


@pytest.mark.parametrize("photo", [0, 4])
def test_batch_parity_fails_for_nan_in_any_batch(photo):
    """A single NaN breaks the gate of every batch size, whichever batch contains it."""
    photos = pixels(6, 32)

    def predict_half(images):
        return Outputs(np.full((len(images), 2), 0.5, np.float32), np.zeros((len(images), 2)), np.zeros(len(images)))

    def predict_nan(images):
        outputs = predict_half(images)
        outputs.probabilities[(images == photos[photo]).all(axis=(1, 2, 3))] = np.nan
        return outputs

    assert [False] * 3 == [gate.passed for gate in check_batch_parity(predict_half, predict_nan, photos, 1.0)]
    assert [True] * 3 == [gate.passed for gate in check_batch_parity(predict_half, predict_half, photos, 1.0)]
