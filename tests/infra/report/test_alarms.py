"""Test the alarms and the decision to retrain."""

import pytest
from pandas import DataFrame

from infra.report.alarms import MARGIN, decide_retraining, judge_accuracy
from infra.report.label_metrics import classification_metrics


def metrics(correct, count):
    """Return the metrics of `count` labels, of which `correct` match the prediction."""
    labels = ["cat"] * correct + ["dog"] * (count - correct)
    return classification_metrics(DataFrame({"predicted_class": ["cat"] * count, "label": labels}))


@pytest.mark.parametrize(("correct", "alarm"), [(290, True), (296, False)])
def test_accuracy_alarm_fires_below_the_released_accuracy(reference, correct, alarm):
    """The alarm fires if the upper bound is below 99.8 % minus the margin: for 97 % of 300 labels, not for 98.7 %."""
    judged = judge_accuracy(metrics(correct, 300), "1", reference)
    assert (alarm, pytest.approx(reference.accuracy - MARGIN)) == (judged["alarm"], judged["limit"])


CONFIRMED, UNCERTAIN, BELOW, FEW = (198, 200), (195, 200), (290, 300), (7, 7)  # correct labels, labels
NOT_CONFIRMED = (
    "sharpness drifted, and the labels do not confirm the accuracy: 97.50 % of 200 labeled photos are correct"
)
TOO_FEW = "sharpness drifted, and there are too few labels to confirm the accuracy"


@pytest.mark.parametrize(
    ("drifted", "labels", "expected"),
    [
        ([], CONFIRMED, (False, "nothing drifted")),
        ([], UNCERTAIN, (False, "nothing drifted")),
        ([], BELOW, (True, "the accuracy is lower than at the release")),
        (["photo_bytes", "photo_width", "predicted_class"], FEW, (False, "only photo size or class mix drifted")),
        (["photo_width", "sharpness"], FEW, (True, TOO_FEW)),
        (["sharpness"], CONFIRMED, (False, "sharpness drifted, but 200 labels confirm the accuracy")),
        (["sharpness"], UNCERTAIN, (True, NOT_CONFIRMED)),
        (["photo_width"], BELOW, (True, "the accuracy is lower than at the release")),
    ],
)
def test_retraining_depends_on_drift_and_labels(reference, drifted, labels, expected):
    """Lower accuracy triggers retraining, and drift does unless labels confirm the released accuracy of 99.8 %."""
    accuracy = judge_accuracy(metrics(*labels), "1", reference)
    assert expected == decide_retraining({"judged": True, "drifted": drifted}, accuracy)


def test_retraining_needs_a_judgment(reference):
    """A report with too few photos and no labels triggers no retraining."""
    accuracy = judge_accuracy(None, "1", reference)
    expected = (False, "there is too little data or no reference")
    assert expected == decide_retraining({"judged": False, "reason": "few"}, accuracy)
