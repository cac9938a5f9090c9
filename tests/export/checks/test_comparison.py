"""Test the comparison of challenger and champion, which the photos on which they differ decide."""

import numpy as np
import pytest

from export.checks.comparison import Paired, decide_promotion, explain_need
from training.config import Release

RULE = Release(registered_model="any", confidence=0.95, margin=0.005, saving=0.1, growth=0.1)


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
def test_decide_promotion(photos, gained, lost, size, promoted, verdict):
    """A better file wins at any size, an equal one only if it is smaller; 100 photos cannot prove equality."""
    decision, reason = decide_promotion(Paired(photos, gained, lost), size, None, RULE)
    assert (promoted, verdict) == (decision, reason.split(":")[0])
    expected = f"of {photos:,} test photos, only the challenger is right on {gained} and only the champion on {lost} "
    assert expected in reason


def test_needed_training_photos_are_exact():
    """The number of training photos that a challenger needs is the smallest that satisfies the rule."""
    assert "be trained on 14,036 photos" in explain_need(Paired(1636, 0, 0), 4, 12_760, RULE)


def test_training_photos_are_not_recommended_without_the_rule():
    """If the rule on growth does not apply, the reason does not recommend more training photos."""
    assert "be trained on" not in explain_need(Paired(1636, 0, 0), 4, None, RULE)
