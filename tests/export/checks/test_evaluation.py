"""Test the scores of a candidate, the comparison with guessing, and the measurement of latency."""

import numpy as np
import pytest

from export.checks.evaluation import score_outputs
from export.checks.latency import measure_latency
from export.checks.quality import check_better_than_guessing
from lambda_app.outputs import Outputs
from tests.export.untrained_models import pixels


def test_score_counts_nan_as_the_first_class():
    """A photo with NaN probabilities counts as the first class, with zero confidence."""
    outputs = Outputs(np.array([[np.nan, np.nan], [0, 1]], np.float32), np.zeros((2, 2)), np.array([np.nan, 1.0]))
    expected = {"photos": 2, "accuracy": 0.5, "calibration_error": 0.0, "unknown_rate": 0.0}
    assert expected == score_outputs(outputs, np.array([1, 1]), 0.0)


@pytest.mark.parametrize(
    ("correct", "labels", "passed"),
    [
        (12, [0, 1, 2] * 6, True),
        (9, [0, 1, 2] * 6, False),
        (30, [0] * 30 + [1] * 4, False),
        (34, [0] * 30 + [1] * 4, True),
    ],
)
def test_better_than_guessing(correct, labels, passed):
    """The accuracy must be significantly above that of always predicting the most frequent class."""
    assert passed == check_better_than_guessing({"accuracy": correct / len(labels)}, labels).passed


def test_latency_alternates_between_candidates():
    """Every candidate runs equally often, in turns."""
    calls = []
    runs = {name: lambda _, name=name: calls.append(name) for name in ("fp32", "int8")}
    times = measure_latency(runs, pixels(1, 32), repeats=4)
    assert ["fp32", "int8"] * 7 == calls  # three runs warm up
    assert 0 < min(times.values())
