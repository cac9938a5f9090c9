"""Predictions joined with what clients said later: how right the model is, as far as the labels can tell."""

from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support

from infra.report.log_reader import Log, Table


def join(log: Log) -> tuple[Table, dict[str, int]]:
    """The predictions whose label came in the window, at the time that it came; and what became of the feedback.

    Feedback may come before its prediction's line, weeks after it, more than once (the last counts), or for a
    prediction that is not in this log.
    """
    last = len(log.feedback) - 1 - np.unique(log.feedback["id"][::-1], return_index=True)[1]
    latest, parts = log.feedback.where(last), (log.earlier, log.requests.having("predicted_class"))
    predictions = Table({name: np.concatenate([part[name] for part in parts]) for name in log.earlier.columns})
    predictions = predictions.where(np.unique(predictions["id"], return_index=True)[1])
    _, ours, theirs = np.intersect1d(predictions["id"], latest["id"], assume_unique=True, return_indices=True)
    told = {"time": latest["time"][theirs], "label": latest["label"][theirs]}
    labelled = Table({**predictions.where(ours).columns, **told})
    counts = {
        "received": len(log.feedback),
        "repeated": len(log.feedback) - len(latest),
        "without a prediction": len(latest) - len(ours),
    }
    return labelled.where(np.argsort(labelled["time"], kind="stable")), counts


def figures(labelled: Table) -> dict[str, Any]:
    right = int((labelled["label"] == labelled["predicted_class"]).sum())
    return {
        "labelled": len(labelled),
        "accuracy": right / len(labelled) if len(labelled) else None,
        "accuracy_interval": wilson(right, len(labelled)),
    }


def wilson(successes: int, of: int) -> list[float] | None:
    """The 95 % interval of a share (Wilson 1927)."""
    if not of:
        return None
    interval = binomtest(successes, of).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def quality(labelled: Table) -> dict[str, Any] | None:
    """Accuracy, and precision, recall and F1 of each class; None where nothing is labelled."""
    if not len(labelled):
        return None
    truth, predicted = labelled["label"].astype(str), labelled["predicted_class"].astype(str)
    names = sorted({*truth, *predicted})
    matrix = np.zeros((len(names), len(names)), int)
    np.add.at(matrix, (np.searchsorted(names, truth), np.searchsorted(names, predicted)), 1)
    scores = precision_recall_fscore_support(truth, predicted, labels=names, zero_division=0)[:3]
    return {
        **figures(labelled),
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


def estimate(requests: Table, labelled: Table) -> dict[str, Any] | None:
    """The accuracy that the confidences promise, before anybody labels; and what that promise is worth on labels.

    The mean confidence is the expected accuracy as long as the confidences are calibrated, which they are for photos
    like those of validation. It does not notice a photo of none of the classes, nor classes that came to look alike.
    """
    predictions = requests.having("predicted_class")
    if not len(predictions):
        return None
    return {**_expected(predictions), "checked": _checked(labelled) if len(labelled) else None}


def _expected(predictions: Table) -> dict[str, Any]:
    """With the 95 % interval of a sum of independent trials, each with its own chance."""
    chance = predictions["confidence"]
    mean, error = chance.mean(), 1.96 * np.sqrt((chance * (1 - chance)).sum()) / len(chance)
    return {"accuracy": float(mean), "interval": [float(max(0, mean - error)), float(min(1, mean + error))]}


def _checked(labelled: Table) -> dict[str, Any]:
    """The estimate of the labelled predictions beside the truth: it holds where Wilson's interval has it inside."""
    found, expected = figures(labelled), float(labelled["confidence"].mean())
    low, high = found["accuracy_interval"]
    return {**found, "estimated": expected, "holds": low <= expected <= high}
