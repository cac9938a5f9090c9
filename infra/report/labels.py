"""Predictions joined with what clients said later: how right the model is, as far as the labels can tell."""

from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support

from infra.report.records import Log, Table


def join(log: Log) -> tuple[Table, dict[str, int]]:
    """The requests with a column `label`, None where nobody said; and what became of the feedback.

    Feedback may come before its prediction's line, more than once (the last counts), or for a prediction that is not
    in this log.
    """
    last = len(log.feedback) - 1 - np.unique(log.feedback["id"][::-1], return_index=True)[1]
    latest = log.feedback.where(last)
    labels = np.full(len(log.requests), None, object)
    predicted = np.flatnonzero(log.requests["predicted_class"] != None)  # noqa: E711  # element by element
    _, ours, theirs = np.intersect1d(
        log.requests["id"][predicted], latest["id"], assume_unique=True, return_indices=True
    )
    labels[predicted[ours]] = latest["label"][theirs]
    counts = {
        "received": len(log.feedback),
        "repeated": len(log.feedback) - len(latest),
        "without a prediction": len(latest) - len(ours),
    }
    return Table({**log.requests.columns, "label": labels}), counts


def wilson(successes: int, of: int) -> list[float] | None:
    """The 95 % interval of a share (Wilson 1927)."""
    if not of:
        return None
    interval = binomtest(successes, of).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def quality(requests: Table) -> dict[str, Any] | None:
    """Accuracy, and precision, recall and F1 of each class, on the labelled predictions; None where there is none."""
    labelled = requests.having("predicted_class").having("label")
    if not len(labelled):
        return None
    truth, predicted = labelled["label"].astype(str), labelled["predicted_class"].astype(str)
    names = sorted({*truth, *predicted})
    matrix = np.zeros((len(names), len(names)), int)
    np.add.at(matrix, (np.searchsorted(names, truth), np.searchsorted(names, predicted)), 1)
    scores = precision_recall_fscore_support(truth, predicted, labels=names, zero_division=0)[:3]
    right = int(matrix.trace())
    return {
        "labelled": len(labelled),
        "accuracy": right / len(labelled),
        "accuracy_interval": wilson(right, len(labelled)),
        **{name: float(values.mean()) for name, values in zip(("precision", "recall", "f1"), scores, strict=True)},
        "class_names": names,
        "confusion_matrix": matrix.tolist(),
        "classes": {
            name: {
                "precision": float(scores[0][i]),
                "precision_interval": wilson(int(matrix[i, i]), int(matrix[:, i].sum())),
                "recall": float(scores[1][i]),
                "recall_interval": wilson(int(matrix[i, i]), int(matrix[i].sum())),
                "f1": float(scores[2][i]),
                "labelled": int(matrix[i].sum()),
            }
            for i, name in enumerate(names)
        },
    }


def estimate(requests: Table) -> dict[str, Any] | None:
    """The accuracy that the confidences promise, before anybody labels; and what that promise is worth on labels.

    The mean confidence is the expected accuracy as long as the confidences are calibrated, which they are for photos
    like those of validation. It does not notice a photo of none of the classes, nor classes that came to look alike.
    """
    predictions = requests.having("predicted_class")
    if not len(predictions):
        return None
    labelled = predictions.having("label")
    return {**_expected(predictions), "checked": _checked(labelled) if len(labelled) else None}


def _expected(predictions: Table) -> dict[str, Any]:
    """With the 95 % interval of a sum of independent trials, each with its own chance."""
    chance = predictions["confidence"]
    mean, error = chance.mean(), 1.96 * np.sqrt((chance * (1 - chance)).sum()) / len(chance)
    return {"accuracy": float(mean), "interval": [float(max(0, mean - error)), float(min(1, mean + error))]}


def _checked(labelled: Table) -> dict[str, Any]:
    """The estimate of the labelled predictions beside the truth: it holds where Wilson's interval has it inside."""
    expected = float(labelled["confidence"].mean())
    right = int((labelled["label"] == labelled["predicted_class"]).sum())
    low, high = wilson(right, len(labelled)) or (0.0, 1.0)
    return {
        "labelled": len(labelled),
        "estimated": expected,
        "accuracy": right / len(labelled),
        "accuracy_interval": [low, high],
        "holds": low <= expected <= high,
    }
