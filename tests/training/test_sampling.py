"""Tests of class-balanced sampling."""

from collections import Counter

import pytest
from torch.utils.data import ConcatDataset

from training.photo_dataset import Photos
from training.sampling import BalancedSampler
from training.source import Source


@pytest.fixture
def photos(tmp_path):
    """Return 900 cats and 100 dogs."""
    labels = {f"{i:03}.jpg": "cat" if i < 900 else "dog" for i in range(1000)}
    return ConcatDataset([Photos(Source(tmp_path), labels, ["cat", "dog"], bytes)])


def test_classes_are_drawn_equally_often(photos):
    """A tenth of the photos is drawn in half of the cases; four standard deviations are 63 of 1,000."""
    drawn = Counter(index >= 900 for index in BalancedSampler(photos, 1, 0))
    assert 1000 == drawn.total()
    assert 437 < drawn[True] < 563


def test_order_depends_on_the_epoch_alone(photos):
    """Each epoch draws other photos, and a resumed epoch the same ones."""
    first, second = BalancedSampler(photos, 1, 0), BalancedSampler(photos, 1, 0)
    second.set_epoch(1)
    assert list(first) != list(second)
    first.set_epoch(1)
    assert list(first) == list(second)


def test_processes_share_one_order(photos):
    """Two processes draw the photos of one process alternately."""
    alone = list(BalancedSampler(photos, 1, 0))
    shared = [list(BalancedSampler(photos, 2, rank)) for rank in range(2)]
    assert alone == [index for pair in zip(*shared, strict=True) for index in pair]
