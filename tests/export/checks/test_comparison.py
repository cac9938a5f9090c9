"""Test the comparison of challenger and champion, which the photos on which they differ decide."""

import numpy as np
import pytest

from export.checks.comparison import Paired


def test_paired_counts_photos_where_one_model_is_right():
    """Photos that both models get right, or both wrong, count for neither."""
    challenger, champion = np.array([1, 1, 1, 0, 0, 1], bool), np.array([1, 0, 0, 1, 0, 1], bool)
    assert Paired(photos=6, gained=2, lost=1) == Paired.from_answers(challenger, champion)


@pytest.mark.parametrize(
    ("gained", "lost", "expected"), [(0, 0, 1), (5, 0, 1 / 32), (0, 5, 1), (6, 1, 8 / 128), (3, 3, 42 / 64)]
)
def test_p_value_is_exact_and_one_sided(gained, lost, expected):
    """The p-value is the share of coin-toss sequences with at least as many gains."""
    assert expected == pytest.approx(Paired(1000, gained, lost).p_value)


@pytest.mark.parametrize("difference", [-0.02, 0.0, 0.02])
def test_lower_bound_covers_the_true_difference(difference):
    """In about 95 % of samples of 1,000 photos the bound is below the true difference."""
    rng = np.random.default_rng(0)
    shares = [0.03 + difference / 2, 0.03 - difference / 2, 0.94]  # gained, lost, equal
    samples = [Paired(1000, *rng.multinomial(1000, shares)[:2]) for _ in range(4000)]
    covered = np.mean([paired.lower_bound(0.95) < difference for paired in samples])
    assert 0.94 < covered < 0.97
