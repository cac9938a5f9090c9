"""Test metrics against examples that were computed by hand."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from training.metrics import calibration_error, classification_metrics, score, wilson_interval

# Four photos; the second is of class 1 and predicted as class 0.
LABELS = np.array([0, 1, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]])


def test_classification_metrics_average_the_classes():
    """The result is accuracy and the mean of precision (1/2, 2/2), recall (1/1, 2/3) and F1 (2/3, 4/5)."""
    expected = {"accuracy": 3 / 4, "precision": 3 / 4, "recall": 5 / 6, "f1": 11 / 15}
    assert expected == pytest.approx(classification_metrics(PROBABILITIES.argmax(1), LABELS))


def test_precision_of_a_class_never_predicted_is_zero():
    """A class that is never predicted has a precision of 0, without a warning."""
    assert 1 / 4 == classification_metrics(np.zeros(4, int), np.array([0, 0, 1, 1]))["precision"]


def test_score_of_two_classes():
    """Rows of the confusion matrix are labels, and all three pairs of a cat and a dog are ranked correctly."""
    scores = score(PROBABILITIES, LABELS)
    assert 4 == scores["photos"]
    assert wilson_interval(3, 4) == scores["accuracy_interval"]
    assert calibration_error(PROBABILITIES, LABELS) == scores["calibration_error"]
    assert [[1, 0], [1, 2]] == scores["confusion_matrix"]
    assert 1.0 == scores["roc_auc"]
    assert -(2 * math.log(0.9) + math.log(0.4) + math.log(0.8)) / 4 == pytest.approx(scores["log_loss"])


def test_roc_auc_is_the_share_of_ranked_pairs():
    """ROC-AUC is the share of pairs in which the photo of class 1 ranks higher: two of three."""
    ranked = np.array([0.5, 0.4, 0.8, 0.9])
    assert 2 / 3 == pytest.approx(score(np.stack([1 - ranked, ranked], 1), LABELS)["roc_auc"])


def test_roc_auc_averages_one_versus_rest():
    """For three classes, ROC-AUC is the mean of each class against the rest: 1, 1 and 1/4."""
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.5, 0.4, 0.1]])
    scores = score(probabilities, np.array([0, 1, 2]))
    assert [[1, 0, 0], [0, 1, 0], [1, 0, 0]] == scores["confusion_matrix"]
    assert (1 + 1 + 1 / 4) / 3 == pytest.approx(scores["roc_auc"])


def test_roc_auc_skips_missing_classes():
    """For a set without one of three classes, ROC-AUC averages the other two and is not NaN."""
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.6, 0.3, 0.1]])
    scores = json.loads(json.dumps(score(probabilities, np.array([0, 1, 1])), allow_nan=False))
    assert 1.0 == scores["roc_auc"]
    assert 2 / 3 == pytest.approx(scores["accuracy"])


def test_score_accepts_probabilities_of_zero_and_one():
    """Probabilities of exactly 0 and 1 are scored, even for a class that does not occur."""
    probabilities = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert (1 + 3 / 4) / 2 == score(probabilities, np.array([0, 1, 1]))["roc_auc"]  # mean of the classes


# --- intervals


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [(81, 263, [0.2553, 0.3662]), (15, 148, [0.0624, 0.1605]), (0, 20, [0.0, 0.1611]), (1, 29, [0.0061, 0.1718])],
)
def test_wilson_matches_published_examples(successes, trials, expected):
    """The results are those of Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I."""
    assert expected == pytest.approx(wilson_interval(successes, trials), abs=5e-5)


@given(st.integers(1, 10_000), st.data())
def test_wilson_contains_the_share(trials, data):
    """The interval is in [0, 1] and contains the observed share."""
    successes = data.draw(st.integers(0, trials))
    low, high = wilson_interval(successes, trials)
    assert 0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1


# --- calibration error


def test_calibration_error_of_four_photos():
    """Two photos at 0.9 (one correct), one at 0.6 (wrong), one at 0.8 (correct): (0.8 + 0.6 + 0.2) / 4."""
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.2, 0.8]])
    assert 0.4 == pytest.approx(calibration_error(probabilities, np.array([0, 0, 1, 1])))


def test_calibration_error_of_certain_predictions():
    """Certain predictions have an error of 1 if always wrong, and of 0 if always correct."""
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert [1.0, 0.0] == [calibration_error(certain, np.array(labels)) for labels in ([1, 0], [0, 1])]


@given(st.integers(1, 50), st.integers(2, 5), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_calibration_error_is_a_share(count, classes, bins, seed):
    """For any probabilities the error is in [0, 1]."""
    rng = np.random.default_rng(seed)
    probabilities = softmax(rng.normal(0, 10, (count, classes)).astype(np.float32), axis=1)
    assert 0 <= calibration_error(probabilities, rng.integers(0, classes, count), bins) <= 1 + 1e-6
