"""What alarms, and what of it asks for another training."""

import numpy as np
import pytest

from infra.report.alarms import MARGIN, accuracy, retrain
from infra.report.label_metrics import quality
from infra.report.log_reader import Table


def labelled(right, of):
    """What so many labels, of which so many agree, come to."""
    said = np.array(["cat"] * right + ["dog"] * (of - right), object)
    return quality(Table({"time": np.arange(of), "predicted_class": np.array(["cat"] * of, object), "label": said}))


@pytest.mark.parametrize(("right", "alarm"), [(290, True), (296, False)])
def test_accuracy_alarms_where_it_is_surely_below_the_released(reference, right, alarm):
    """Of 300 labels, 97 % and 98.7 %: the upper bound of the first is below 99.8 % less the margin."""
    found = accuracy(labelled(right, 300), "1", reference)
    assert (alarm, pytest.approx(reference.accuracy - MARGIN)) == (found["alarm"], found["limit"])


HOLDS, DOUBTFUL, FALLS, FEW = (198, 200), (195, 200), (290, 300), (7, 7)  # labels that agree, of so many
CANNOT_TELL = (
    "sharpness drifted, and labels cannot tell whether accuracy holds: 97.50 % of 200 labelled photos are right"
)


@pytest.mark.parametrize(
    ("drifted", "labels", "expected"),
    [
        ([], HOLDS, (False, "nothing drifted")),
        ([], DOUBTFUL, (False, "nothing drifted")),
        ([], FALLS, (True, "fewer photos are right than were when the model was released")),
        (["photo_bytes", "photo_width", "predicted_class"], FEW, (False, "nothing drifted but size or class mix")),
        (["photo_width", "sharpness"], FEW, (True, "sharpness drifted, and no labels say that accuracy holds")),
        (["sharpness"], HOLDS, (False, "sharpness drifted, yet by 200 labels accuracy holds")),
        (["sharpness"], DOUBTFUL, (True, CANNOT_TELL)),
        (["photo_width"], FALLS, (True, "fewer photos are right than were when the model was released")),
    ],
)
def test_when_to_retrain(reference, drifted, labels, expected):
    """Where accuracy falls; where photos are of another kind, unless labels say that they are as well known: the
    released accuracy is 99.8 %, and 97.5 % of few photos may be chance, but is not as right as that.
    """
    assert expected == retrain({"judged": True, "drifted": drifted}, accuracy(labelled(*labels), "1", reference))


def test_what_was_not_judged_starts_nothing(reference):
    """Without a reference, or with too few photos."""
    unknown = accuracy(None, "1", reference)
    assert (False, "there is nothing to judge by") == retrain({"judged": False, "reason": "few"}, unknown)
