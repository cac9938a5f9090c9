"""Join predictions with feedback, and measure or estimate the accuracy of the model."""

from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support

from infra.report.log_reader import Log


def join_feedback(log: Log) -> tuple[DataFrame, dict[str, int]]:
    """Return the predictions labeled in the window, timed by their labels, and the counts of the feedback.

    Feedback may precede the line of its prediction, follow weeks later, be repeated (the last one counts), or refer
    to a prediction that is not in this log.
    """
    latest = log.feedback.drop_duplicates("id", keep="last")
    predictions = pd.concat([log.earlier, log.requests[log.earlier.columns].dropna(subset="predicted_class")])
    predictions = predictions.drop_duplicates("id").rename(columns={"time": "predicted_at"})
    labeled = predictions.merge(latest, on="id").sort_values(["time", "id"], ignore_index=True)
    counts = {
        "received": len(log.feedback),
        "repeated": len(log.feedback) - len(latest),
        "without a prediction": len(latest) - len(labeled),
    }
    return labeled, counts


def accuracy_figures(labeled: DataFrame) -> dict[str, Any]:
    correct = int((labeled["label"] == labeled["predicted_class"]).sum())
    return {
        "labels": len(labeled),
        "accuracy": correct / len(labeled) if len(labeled) else None,
        "accuracy_interval": wilson_interval(correct, len(labeled)),
    }


def calibration_figures(labeled: DataFrame, bins: int) -> dict[str, float | None]:
    """Return the mean confidence of the labeled predictions and the expected calibration error (Guo et al. 2017).

    The error is the mean distance between confidence and accuracy, in bins of equal width. `training.metrics` has its
    own `calibration_error`, because `infra` may not import `training`.
    """
    if not len(labeled):
        return {"labeled_confidence": None, "calibration_error": None}
    confidence = labeled["confidence"]
    gaps = (labeled["label"] == labeled["predicted_class"]) - confidence
    per_bin = np.bincount(np.minimum((confidence * bins).astype(int), bins - 1), gaps)
    return {
        "labeled_confidence": float(confidence.mean()),
        "calibration_error": float(np.abs(per_bin).sum() / len(labeled)),
    }


def wilson_interval(successes: int, trials: int) -> list[float] | None:
    """Return the 95 % interval of a share (Wilson 1927), or None without trials.

    `training.metrics` has its own copy, because `infra` may not import `training`.
    """
    if not trials:
        return None
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def classification_metrics(labeled: DataFrame) -> dict[str, Any] | None:
    """Return accuracy, and precision, recall and F1 of each class, or None without labels."""
    if not len(labeled):
        return None
    truth, predicted = labeled["label"].to_numpy(str), labeled["predicted_class"].to_numpy(str)
    names = sorted({*truth, *predicted})
    matrix = np.zeros((len(names), len(names)), int)  # sklearn's confusion_matrix warns if only one class occurs
    np.add.at(matrix, (np.searchsorted(names, truth), np.searchsorted(names, predicted)), 1)
    scores = precision_recall_fscore_support(truth, predicted, labels=names, zero_division=0)[:3]
    return {
        **accuracy_figures(labeled),
        **{name: float(values.mean()) for name, values in zip(("precision", "recall", "f1"), scores, strict=True)},
        "class_names": names,
        "confusion_matrix": matrix.tolist(),
        "classes": {
            name: {
                "precision": float(scores[0][i]),
                "precision_interval": wilson_interval(int(matrix[i, i]), int(matrix[:, i].sum())),
                "recall": float(scores[1][i]),
                "recall_interval": wilson_interval(int(matrix[i, i]), int(matrix[i].sum())),
                "f1": float(scores[2][i]),
                "labels": int(matrix[i].sum()),
            }
            for i, name in enumerate(names)
        },
    }


def estimate_accuracy(requests: DataFrame, labeled: DataFrame) -> dict[str, Any] | None:
    """Return the accuracy that the confidences predict without labels, and compare it with the labels that exist.

    The mean confidence equals the expected accuracy while the confidences are calibrated, as they are for photos like
    those of validation. It does not detect photos that show none of the classes, or classes that have become similar.
    """
    predictions = requests.dropna(subset="predicted_class")
    if not len(predictions):
        return None
    return {**_expected_accuracy(predictions), "checked": _compare_with_labels(labeled) if len(labeled) else None}


def _expected_accuracy(predictions: DataFrame) -> dict[str, Any]:
    """Return the mean confidence with the 95 % interval of a sum of independent trials with unequal probabilities."""
    confidence = predictions["confidence"]
    mean, error = confidence.mean(), 1.96 * np.sqrt((confidence * (1 - confidence)).sum()) / len(confidence)
    return {"accuracy": float(mean), "interval": [float(max(0, mean - error)), float(min(1, mean + error))]}


def _compare_with_labels(labeled: DataFrame) -> dict[str, Any]:
    """Return the estimate for the labeled predictions; it holds if it lies in the Wilson interval of their accuracy."""
    figures, expected = accuracy_figures(labeled), float(labeled["confidence"].mean())
    low, high = figures["accuracy_interval"]
    return {**figures, "estimated": expected, "holds": low <= expected <= high}
