"""Compute metrics from probabilities and labels, with scikit-learn and SciPy."""

from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support, roc_auc_score

from training.predictions import Floats, Labels


def classification_metrics(predicted: Labels, labels: Labels) -> dict[str, float]:
    """Return accuracy, and precision, recall and F1 averaged over the classes; each in [0, 1]."""
    precision, recall, f1, _ = precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def add_prefix(split: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{split}_{name}": value for name, value in metrics.items()}


def score(probabilities: Floats, labels: Labels) -> dict[str, Any]:
    """Return every metric of the evaluation report, from probabilities (N, C) and labels (N,)."""
    classes = list(range(probabilities.shape[1]))
    predicted = probabilities.argmax(1)
    return {
        "photos": len(labels),
        **classification_metrics(predicted, labels),
        "accuracy_interval": wilson_interval(int((predicted == labels).sum()), len(labels)),
        "roc_auc": _roc_auc(probabilities, labels),
        "log_loss": float(log_loss(labels, probabilities, labels=classes)),
        "calibration_error": calibration_error(probabilities, labels),
        "confusion_matrix": confusion_matrix(labels, predicted, labels=classes).tolist(),
    }


def wilson_interval(successes: int, total: int) -> list[float]:
    """Return the 95 % interval of a share (Wilson 1927).

    `infra.report.label_metrics` has the same function: `infra` may not import `training`, and `lambda_app`, which both
    may import, contains neither SciPy nor code that serving does not need.
    """
    interval = binomtest(successes, total).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def calibration_error(probabilities: Floats, labels: Labels, bins: int = 15) -> float:
    """Return the expected calibration error of the predicted class, with bins of equal width (Guo et al. 2017).

    `infra.report.label_metrics.calibration_figures` also computes it, for the reason that `wilson_interval` gives.
    """
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    indices = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[indices == b].sum() - correct[indices == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(labels))


def _roc_auc(probabilities: Floats, labels: Labels) -> float:
    """Return the mean one-versus-rest ROC-AUC of the classes that occur in `labels`."""
    return float(np.mean([roc_auc_score(labels == label, probabilities[:, label]) for label in np.unique(labels)]))
