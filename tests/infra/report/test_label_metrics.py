"""Feedback and accuracy."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.report.label_metrics import estimate, join, quality, wilson
from infra.report.log_reader import LATE, read
from tests.infra.report.lines import BEGIN, feedback, part, prediction, request


def joined(*lines):
    return join(read(lines))


def estimated(*lines):
    log = read(lines)
    return estimate(log.requests, join(log)[0])


@pytest.mark.parametrize(
    ("successes", "of", "expected"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81, 263, [0.2553, 0.3662]),
        (15, 148, [0.0624, 0.1605]),
        (0, 20, [0.0, 0.1611]),
        (1, 29, [0.0061, 0.1718]),
    ],
)
def test_wilsons_interval(successes, of, expected):
    """The published values."""
    assert expected == pytest.approx(wilson(successes, of), abs=5e-5)


def test_of_nothing_there_is_no_interval():
    """Where no photo is labelled."""
    assert wilson(0, 0) is None


@pytest.mark.parametrize("predicted", [prediction(0), part(0)])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_feedback_finds_its_prediction(order, predicted):
    """Also where its line comes first, and where the photo came with others."""
    lines = [predicted, feedback(0, "dog")]
    labelled, counts = joined(*(lines[i] for i in order))
    assert ["dog"] == labelled["label"].tolist()
    assert {"received": 1, "repeated": 0, "without a prediction": 0} == counts


def test_the_last_label_counts():
    """By its time, not by its line."""
    labelled, counts = joined(feedback(0, "dog", later=9), feedback(0, "cat", later=3), prediction(0))
    assert ["dog"] == labelled["label"].tolist()
    assert {"received": 2, "repeated": 1, "without a prediction": 0} == counts


@pytest.mark.parametrize(("late", "labels"), [(LATE, ["dog"]), (LATE + timedelta(minutes=2), [])])
def test_late_feedback_finds_its_prediction(late, labels):
    """Which left the window up to thirty days ago: it counts when it comes, and its prediction counts no more."""
    since = BEGIN + late
    log = read([prediction(1), feedback(1, "dog", later=late / timedelta(minutes=1))], since)
    labelled, _ = join(log)
    assert (0, labels) == (len(log.requests), labelled["label"].tolist())
    assert [since.timestamp() + 60] * len(labels) == labelled["time"].tolist()


def test_feedback_of_no_prediction_labels_nothing():
    """An id that is not in the log, and that of a request which was no prediction."""
    labelled, counts = joined(prediction(0), request(1), feedback(1), feedback(7))
    assert 0 == len(labelled)
    assert {"received": 2, "repeated": 0, "without a prediction": 2} == counts


@given(st.lists(st.integers(0, 5)), st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["cat", "dog"]))))
def test_every_feedback_is_accounted_for(predictions, told):
    """Received is labelled, repeated or without a prediction."""
    lines = [prediction(number) for number in predictions]
    labelled, counts = joined(*lines, *(feedback(number, label) for number, label in told))
    assert len(told) == counts["received"] == len(labelled) + counts["repeated"] + counts["without a prediction"]


def test_quality():
    """Of 4 cats 3 are right, of 6 dogs all; what nobody labelled does not count."""
    said = ["cat", "cat", "cat", "dog", *["dog"] * 6, "cat"]
    true = ["cat"] * 4 + ["dog"] * 6
    labelled, _ = joined(
        *(prediction(i, predicted_class=name) for i, name in enumerate(said)),
        *(feedback(i, name) for i, name in enumerate(true)),
    )
    found = quality(labelled)
    assert (10, 0.9, [[3, 1], [0, 6]]) == (found["labelled"], found["accuracy"], found["confusion_matrix"])
    assert (1.0, 0.75) == (found["classes"]["cat"]["precision"], found["classes"]["cat"]["recall"])
    assert (wilson(3, 3), wilson(3, 4)) == tuple(
        found["classes"]["cat"][f"{n}_interval"] for n in ("precision", "recall")
    )
    assert pytest.approx((6 / 7 + 1) / 2) == found["precision"]
    assert pytest.approx((2 * 0.75 / 1.75 + 12 / 13) / 2) == found["f1"]


def test_without_labels_there_is_no_quality():
    """And no figure is made up."""
    assert quality(joined(prediction(0), request(1))[0]) is None


def test_the_estimate_is_the_mean_confidence():
    """With the interval of independent trials, and without labels unchecked."""
    found = estimated(*(prediction(i, confidence=0.9) for i in range(100)))
    assert pytest.approx(0.9) == found["accuracy"]
    assert pytest.approx([0.9 - 1.96 * 0.03, 0.9 + 1.96 * 0.03]) == found["interval"]
    assert found["checked"] is None


@pytest.mark.parametrize(("confidence", "holds"), [(0.8, True), (0.99, False)])
def test_the_estimate_is_held_against_the_labels(confidence, holds):
    """Of 100 labelled photos 80 are right: a network that is surer than that is overconfident."""
    lines = [prediction(i, confidence=confidence) for i in range(120)]
    lines += [feedback(i, "cat" if i % 5 else "dog") for i in range(100)]
    checked = estimated(*lines)["checked"]
    assert (100, 0.8, holds) == (checked["labelled"], checked["accuracy"], checked["holds"])
    assert pytest.approx(confidence) == checked["estimated"]


def test_without_predictions_there_is_no_estimate():
    """Health checks promise nothing."""
    assert estimated(request(0)) is None
