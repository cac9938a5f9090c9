"""Test the rule that decides whether a challenger replaces the champion."""

import pytest

from export.checks.comparison import Paired
from export.promotion import decide_promotion, explain_need
from training.config import Release

RULE = Release(registered_model="any", confidence=0.95, margin=0.005, saving=0.1, growth=0.1)


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
