"""Figures of merit from probabilities and labels, with scikit-learn."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support, roc_auc_score

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]


def classification(predicted: Labels, labels: Labels) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 averaged over the classes, each in [0, 1]."""
    precision, recall, f1, _ = precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def score(probabilities: Floats, labels: Labels) -> dict[str, Any]:
    """Everything that evaluation reports: (N, C) probabilities against (N,) labels."""
    classes = list(range(probabilities.shape[1]))
    predicted = probabilities.argmax(1)
    return {
        "photos": len(labels),
        **classification(predicted, labels),
        "roc_auc": _roc_auc(probabilities, labels),
        "log_loss": float(log_loss(labels, probabilities, labels=classes)),
        "confusion_matrix": confusion_matrix(labels, predicted, labels=classes).tolist(),
    }


def _roc_auc(probabilities: Floats, labels: Labels) -> float:
    """Each class against the rest, averaged over those that a set shows; of two classes, one mirrors the other."""
    return float(np.mean([roc_auc_score(labels == label, probabilities[:, label]) for label in np.unique(labels)]))


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """The T that minimises the log loss of softmax(logits / T) (Guo et al. 2017, "On Calibration").

    Against targets that keep 1 / (n + 2) for the other classes (Platt 1999): of a few photos, all classified rightly,
    hard targets would make T as small as it may be and every answer certain.
    """
    classes = logits.shape[1]
    rest = 1 / (len(labels) + 2)
    targets = np.where(np.eye(classes, dtype=bool)[labels], 1 - rest, rest / (classes - 1))  # (n, C)

    def loss(log_t: float) -> float:
        return float(-(targets * log_softmax(logits / np.exp(log_t), axis=1)).sum(axis=1).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def fit_unknown_threshold(logits: Floats, rate: float) -> float:
    """The log-sum-exp of the logits below which `rate` of these photos fall (Liu et al. 2020, "Energy-based OOD")."""
    return float(np.quantile(logsumexp(logits, axis=1), rate))
