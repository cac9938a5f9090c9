"""Test the join of feedback with predictions, and the accuracy metrics."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.report.label_metrics import classification_metrics, estimate_accuracy, join_feedback, wilson_interval
from infra.report.log_reader import FEEDBACK_WINDOW, read
from tests.infra.report.lines import BEGIN, feedback, part, prediction, request


def joined(*lines):
    return join_feedback(read(lines))


def estimated(*lines):
    log = read(lines)
    return estimate_accuracy(log.requests, join_feedback(log)[0])


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81, 263, [0.2553, 0.3662]),
        (15, 148, [0.0624, 0.1605]),
        (0, 20, [0.0, 0.1611]),
        (1, 29, [0.0061, 0.1718]),
    ],
)
def test_wilson_interval_matches_published_values(successes, trials, expected):
    """The intervals equal those of Newcombe to four digits."""
    assert expected == pytest.approx(wilson_interval(successes, trials), abs=5e-5)


def test_wilson_interval_needs_trials():
    """Without labels there is no interval."""
    assert wilson_interval(0, 0) is None


@pytest.mark.parametrize("predicted", [prediction(0), part(0)])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_feedback_is_joined_with_its_prediction(order, predicted):
    """The order of the lines does not matter, and photos of a batch are matched, too."""
    lines = [predicted, feedback(0, "dog")]
    labeled, counts = joined(*(lines[i] for i in order))
    assert ["dog"] == labeled["label"].tolist()
    assert {"received": 1, "repeated": 0, "without a prediction": 0} == counts


def test_last_label_counts():
    """The time decides which label is the last, not the order of the lines."""
    labeled, counts = joined(feedback(0, "dog", later=9), feedback(0, "cat", later=3), prediction(0))
    assert ["dog"] == labeled["label"].tolist()
    assert {"received": 2, "repeated": 1, "without a prediction": 0} == counts


@pytest.mark.parametrize(("late", "labels"), [(FEEDBACK_WINDOW, ["dog"]), (FEEDBACK_WINDOW + timedelta(minutes=2), [])])
def test_late_feedback_is_joined_for_thirty_days(late, labels):
    """A late label counts at the time it arrives, while its prediction is outside the window."""
    since = BEGIN + late
    log = read([prediction(1), feedback(1, "dog", later=late / timedelta(minutes=1))], since)
    labeled, _ = join_feedback(log)
    assert (0, labels) == (len(log.requests), labeled["label"].tolist())
    assert [since.timestamp() + 60] * len(labels) == labeled["time"].tolist()


def test_feedback_without_a_prediction_is_counted():
    """Feedback to an unknown id, or to a request without a prediction, is counted apart."""
    labeled, counts = joined(prediction(0), request(1), feedback(1), feedback(7))
    assert 0 == len(labeled)
    assert {"received": 2, "repeated": 0, "without a prediction": 2} == counts


@pytest.mark.slow
@given(st.lists(st.integers(0, 5)), st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["cat", "dog"]))))
def test_feedback_counts_add_up(predictions, labels):
    """Every received feedback labels a prediction, is repeated, or has no prediction."""
    lines = [prediction(number) for number in predictions]
    labeled, counts = joined(*lines, *(feedback(number, label) for number, label in labels))
    assert len(labels) == counts["received"] == len(labeled) + counts["repeated"] + counts["without a prediction"]


def test_classification_metrics_cover_labeled_predictions():
    """3 of 4 cats and all of 6 dogs are correct; a prediction without a label does not count."""
    predicted = ["cat", "cat", "cat", "dog", *["dog"] * 6, "cat"]
    true = ["cat"] * 4 + ["dog"] * 6
    labeled, _ = joined(
        *(prediction(i, predicted_class=name) for i, name in enumerate(predicted)),
        *(feedback(i, name) for i, name in enumerate(true)),
    )
    found = classification_metrics(labeled)
    assert (10, 0.9, [[3, 1], [0, 6]]) == (found["labels"], found["accuracy"], found["confusion_matrix"])
    assert (1.0, 0.75) == (found["classes"]["cat"]["precision"], found["classes"]["cat"]["recall"])
    assert (wilson_interval(3, 3), wilson_interval(3, 4)) == tuple(
        found["classes"]["cat"][f"{n}_interval"] for n in ("precision", "recall")
    )
    assert pytest.approx((6 / 7 + 1) / 2) == found["precision"]
    assert pytest.approx((2 * 0.75 / 1.75 + 12 / 13) / 2) == found["f1"]


def test_classification_metrics_need_labels():
    """Without labels the metrics are None."""
    assert classification_metrics(joined(prediction(0), request(1))[0]) is None


def test_estimate_is_the_mean_confidence():
    """The estimate is the mean confidence with a 95 % interval; without labels, it is not checked."""
    found = estimated(*(prediction(i, confidence=0.9) for i in range(100)))
    assert pytest.approx(0.9) == found["accuracy"]
    assert pytest.approx([0.9 - 1.96 * 0.03, 0.9 + 1.96 * 0.03]) == found["interval"]
    assert found["checked"] is None


@pytest.mark.parametrize(("confidence", "holds"), [(0.8, True), (0.99, False)])
def test_estimate_is_compared_with_the_labels(confidence, holds):
    """80 of 100 labeled photos are correct, so a mean confidence of 0.99 is overconfident."""
    lines = [prediction(i, confidence=confidence) for i in range(120)]
    lines += [feedback(i, "cat" if i % 5 else "dog") for i in range(100)]
    checked = estimated(*lines)["checked"]
    assert (100, 0.8, holds) == (checked["labels"], checked["accuracy"], checked["holds"])
    assert pytest.approx(confidence) == checked["estimated"]


def test_estimate_needs_predictions():
    """Health checks yield no estimate."""
    assert estimated(request(0)) is None
