"""Challenger against champion: the photos on which they differ decide."""

import numpy as np
import pytest

from export.checks.comparison import Paired, judge
from training.config import Release

RULE = Release(registered_model="any", confidence=0.95, margin=0.005, saving=0.1)


def test_paired():
    """Photos that both get right, or both wrong, count for neither."""
    challenger, champion = np.array([1, 1, 1, 0, 0, 1], bool), np.array([1, 0, 0, 1, 0, 1], bool)
    assert Paired(photos=6, gained=2, lost=1) == Paired.of(challenger, champion)


@pytest.mark.parametrize(
    ("gained", "lost", "expected"), [(0, 0, 1), (5, 0, 1 / 32), (0, 5, 1), (6, 1, 8 / 128), (3, 3, 42 / 64)]
)
def test_p_value(gained, lost, expected):
    """One-sided and exact: the share of all ways in which as many coins fall at least as well."""
    assert expected == pytest.approx(Paired(1000, gained, lost).p_value)


@pytest.mark.parametrize("truth", [-0.02, 0.0, 0.02])
def test_lower_bound_covers(truth):
    """In about nineteen of twenty draws of 1,000 photos the bound lies below the true difference."""
    rng = np.random.default_rng(0)
    shares = [0.03 + truth / 2, 0.03 - truth / 2, 0.94]  # gained, lost, the same
    draws = [Paired(1000, *rng.multinomial(1000, shares)[:2]) for _ in range(4000)]
    covered = np.mean([paired.lower_bound(0.95) < truth for paired in draws])
    assert 0.94 < covered < 0.97


@pytest.mark.parametrize(
    ("photos", "gained", "lost", "size", "promoted", "verdict"),
    [
        (1636, 14, 3, 1.0, True, "better"),
        (1636, 14, 3, 3.0, True, "better"),
        (1636, 5, 3, 1.0, False, "as good, but no smaller"),
        (1636, 0, 0, 1.0, False, "as good, but no smaller"),
        (1636, 0, 0, 0.95, False, "as good, but no smaller"),
        (1636, 0, 0, 0.3, True, "as good and smaller"),
        (1636, 3, 5, 0.3, True, "as good and smaller"),
        (1636, 0, 12, 0.3, False, "neither better nor shown to be as good"),
        (100, 0, 0, 0.3, False, "neither better nor shown to be as good"),
    ],
)
def test_judge(photos, gained, lost, size, promoted, verdict):
    """Better wins at any size; as good wins if clearly smaller; a hundred photos cannot show half a point."""
    decision, reason = judge(Paired(photos, gained, lost), size, RULE)
    assert (promoted, verdict) == (decision, reason.split(":")[0])
    assert f"of {photos} test photos {gained} are right with the challenger alone, {lost} with the champion" in reason
