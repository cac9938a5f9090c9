"""Figures of merit against examples worked by hand, and fits against what the data was made with."""

import json
import math

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from training.metrics import classification, fit_temperature, fit_unknown_threshold, score

# Four photos; the second, of class 1, is taken for class 0.
LABELS = np.array([0, 1, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]])


def test_classification():
    """Accuracy, and the classes' mean precision (1/2, 2/2), recall (1/1, 2/3) and F1 (2/3, 4/5)."""
    expected = {"accuracy": 3 / 4, "precision": 3 / 4, "recall": 5 / 6, "f1": 11 / 15}
    assert expected == pytest.approx(classification(PROBABILITIES.argmax(1), LABELS))


def test_class_never_predicted():
    """A class that is never predicted has precision 0, without a warning."""
    assert 1 / 4 == classification(np.zeros(4, int), np.array([0, 0, 1, 1]))["precision"]


def test_score():
    """Rows of the confusion matrix are the truth; all three pairs of one cat and one dog are ranked rightly."""
    scored = score(PROBABILITIES, LABELS)
    assert 4 == scored["photos"]
    assert [[1, 0], [1, 2]] == scored["confusion_matrix"]
    assert 1.0 == scored["roc_auc"]
    assert -(2 * math.log(0.9) + math.log(0.4) + math.log(0.8)) / 4 == pytest.approx(scored["log_loss"])


def test_score_ranks():
    """The area under the ROC curve is the share of pairs in which the photo of class 1 ranks higher: two of three."""
    ranked = np.array([0.5, 0.4, 0.8, 0.9])
    assert 2 / 3 == pytest.approx(score(np.stack([1 - ranked, ranked], 1), LABELS)["roc_auc"])


def test_score_of_three_classes():
    """With more than two classes, each against the rest: areas 1, 1 and 1/2 here."""
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.5, 0.4, 0.1]])
    scored = score(probabilities, np.array([0, 1, 2]))
    assert [[1, 0, 0], [0, 1, 0], [1, 0, 0]] == scored["confusion_matrix"]
    assert (1 + 1 + 1 / 4) / 3 == pytest.approx(scored["roc_auc"])


def test_score_without_a_class():
    """Of a set that lacks one of three classes, the area under the ROC curve is that of the two; JSON has no NaN."""
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.6, 0.3, 0.1]])
    scored = json.loads(json.dumps(score(probabilities, np.array([0, 1, 1])), allow_nan=False))
    assert 1.0 == scored["roc_auc"]
    assert 2 / 3 == pytest.approx(scored["accuracy"])


def test_score_of_certainty():
    """Probabilities of exactly 0 and 1, also for a class that the set does not show, are scored."""
    probabilities = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert (1 + 3 / 4) / 2 == score(probabilities, np.array([0, 1, 1]))["roc_auc"]  # of each class


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_recovered(temperature, classes):
    """Labels drawn from softmax(logits / T) give T back, within 5 %."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20_000, classes))
    uniform = rng.random((len(logits), 1))
    labels = (softmax(logits / temperature, axis=1).cumsum(1) < uniform).sum(1)
    assert temperature == pytest.approx(fit_temperature(logits, labels), rel=0.05)


def test_temperature_of_perfect_logits():
    """A few photos, all classified rightly, are no proof of certainty: confidence stays below 0.99."""
    logits = np.array([[2.0, -2.0], [-2.0, 2.0]] * 10)
    temperature = fit_temperature(logits, np.array([0, 1] * 10))
    assert softmax(logits / temperature, axis=1).max() < 0.99


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5])
def test_unknown_threshold(rate):
    """So many of the photos that it is fitted on are called unknown."""
    logits = np.random.default_rng(0).normal(0, 3, (1000, 2))
    assert rate == pytest.approx((logsumexp(logits, axis=1) < fit_unknown_threshold(logits, rate)).mean())


def test_unknown_threshold_of_none():
    """A rate of zero calls none of them unknown."""
    logits = np.random.default_rng(0).normal(0, 3, (1000, 2))
    assert not (logsumexp(logits, axis=1) < fit_unknown_threshold(logits, 0)).any()
