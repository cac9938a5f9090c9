"""What alarms, and what of it asks for another training."""

import pytest

from infra.report.verdict import MARGIN, accuracy, retrain


@pytest.mark.parametrize(("right", "alarm"), [(290, True), (296, False)])
def test_accuracy_alarms_where_it_is_surely_below_the_released(reference, right, alarm):
    """Of 300 labels, 97 % and 98.7 %: the upper bound of the first is below 99.8 % less the margin."""
    interval = {290: [0.939, 0.982], 296: [0.966, 0.995]}[right]
    found = accuracy({"labelled": 300, "accuracy_interval": interval}, "1", reference)
    assert (alarm, pytest.approx(reference.accuracy - MARGIN)) == (found["alarm"], found["limit"])


HOLDS, FALLS = ({"judged": True, "alarm": alarm, "labelled": 300} for alarm in (False, True))
UNKNOWN = {"judged": False, "reason": "7 labels"}


@pytest.mark.parametrize(
    ("drifted", "accuracy", "expected"),
    [
        ([], HOLDS, (False, "nothing drifted")),
        ([], FALLS, (True, "fewer photos are right than were when the model was released")),
        (["photo_bytes", "photo_width", "predicted_class"], UNKNOWN, (False, "nothing drifted but size or class mix")),
        (["photo_width", "sharpness"], UNKNOWN, (True, "sharpness drifted, and no labels say that accuracy holds")),
        (["sharpness"], HOLDS, (False, "sharpness drifted, yet by 300 labels accuracy holds")),
        (["photo_width"], FALLS, (True, "fewer photos are right than were when the model was released")),
    ],
)
def test_when_to_retrain(drifted, accuracy, expected):
    """Where accuracy falls; where photos are of another kind, unless labels say that they are as well known."""
    assert expected == retrain({"judged": True, "drifted": drifted}, accuracy)


def test_what_was_not_judged_starts_nothing():
    """Without a reference, or with too few photos."""
    assert (False, "there is nothing to judge by") == retrain({"judged": False, "reason": "few"}, UNKNOWN)
