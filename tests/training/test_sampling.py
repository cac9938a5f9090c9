"""Test sampling: photos are repeated to reach a number of steps, and classes are balanced."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, DistributedSampler

from training.batches import loader
from training.distributed import World
from training.photo_dataset import Photos
from training.sampling import BalancedSampler, repeat_photos, shard
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


def test_default_sampler_is_unchanged(params):
    """Without balanced classes, the order is that of torch's own sampler."""
    photos = ConcatDataset([range(100)])
    _, sampler = shard(photos, params, World(0, 1, torch.device("cpu")))
    assert type(sampler) is DistributedSampler
    assert list(DistributedSampler(photos, 1, 0, seed=params.seed)) == list(sampler)


# --- few photos


@pytest.mark.parametrize(("min_steps", "seen"), [(1, 48), (6, 48), (7, 96), (13, 144)])
def test_few_photos_are_repeated(min_steps, seen):
    """48 photos in batches of 16 are six steps in two epochs; for more steps, an epoch repeats them."""
    assert seen == len(repeat_photos(range(48), SimpleNamespace(batch_size=16, epochs=2, min_steps=min_steps)))


@given(st.integers(1, 200), st.integers(1, 64), st.integers(1, 9), st.integers(1, 100))
def test_repeated_photos_reach_min_steps(photos, batch_size, epochs, min_steps):
    """For any number of photos and any dropped remainder, there are at least `min_steps` steps."""
    params = SimpleNamespace(batch_size=batch_size, epochs=epochs, min_steps=min_steps)
    seen = repeat_photos(range(photos), params)
    sampler = DistributedSampler(seen, num_replicas=1, rank=0)
    assert min_steps <= epochs * len(loader(seen, batch_size, 0, sampler))
