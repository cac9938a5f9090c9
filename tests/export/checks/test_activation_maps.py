"""Test the gates on activation maps with the tiny model, and with maps that are constant."""

import numpy as np
import pytest
import torch
from torch import nn

from export.checks.activation_maps import check_maps, correlate
from tests.support import tiny_model

SIDE = tiny_model.METADATA.image_size


class TinyNetwork(nn.Module):
    """The tiny model in PyTorch."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(3, 2, bias=False)
        self.head.weight.data = torch.tensor([[1.0, 0, -1], [-1, 0, 1]]) / 64

    def forward(self, images):
        return self.head(self.body(images.float())), None


@pytest.mark.parametrize(("color", "names"), [(200, ["difference", "correlation"]), (0, ["difference"])])
def test_constant_maps_have_no_gate_for_the_correlation(tiny_classifier, color, names):
    """A photo with a red half has a map with a pattern; the map of a black photo is constant."""
    pixels = np.zeros((2, 3, SIDE, SIDE), np.uint8)
    pixels[:, 0, :, : SIDE // 2] = color
    gates = check_maps(TinyNetwork(), {"fp32": tiny_classifier, "int8": tiny_classifier}, "int8", pixels, 1e-4)
    expected = ["candidates_unlike_pytorch_in_having_maps", *(f"activation_map_{name}" for name in names)]
    assert [(name, True) for name in expected] == [(gate.name, gate.passed) for gate in gates]


def test_constant_map_counts_as_no_correlation():
    """A constant map in place of a pattern counts as 0; a photo whose expected map is constant is left out."""
    pattern, constant = np.array([[0, 1], [2, 3]], np.float32), np.full((2, 2), 7, np.float32)
    rounded = constant + np.array([[0, 0], [0, 4e-6]], np.float32)
    maps, expected = (pattern, constant, pattern, pattern), (2 * pattern, pattern, constant, rounded)
    assert [1, 0] == pytest.approx(correlate(np.stack(maps), np.stack(expected)))
