"""fp32 against PyTorch: what counts as another prediction."""

import numpy as np
import pytest

from export.checks.parity import set_parity
from lambda_app.classifier import Outputs


def outputs(*probabilities):
    return Outputs(np.float32(probabilities), np.float32(probabilities), np.zeros(len(probabilities), np.float32))


@pytest.mark.parametrize(
    ("ours", "theirs", "different"),
    [
        ((0.9, 0.1), (0.9, 0.1), 0),
        ((0.6, 0.4), (0.4, 0.6), 1),
        ((0.50001, 0.49999), (0.49999, 0.50001), 0),  # a tie within the limit may fall either way
    ],
)
def test_different_predictions(ours, theirs, different):
    """A photo counts if the two disagree and the network was not undecided by less than the limit allows."""
    said = {"fp32": outputs(ours, (0.8, 0.2)), "pytorch": outputs(theirs, (0.8, 0.2))}
    gates = {gate.name: gate.measured for gate in set_parity("test", said, limit=1e-4)}
    assert different == gates["different_predictions_test"]
