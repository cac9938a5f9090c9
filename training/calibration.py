"""Calibrate a trained network: fit the temperature of its probabilities and the threshold of `unknown`.

The threshold is fitted on validation photos of the known classes alone; no photo of anything else is needed.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import binom

from training.figures import write_json
from training.predictions import Floats, Labels, Predictions

CALIBRATION = Path("artifacts/calibration.json")
CONFIDENCE = 0.95  # probability that at most `unknown_rate` of future photos are called unknown


@dataclass(frozen=True)
class Calibration:
    """The fitted numbers. `familiar` is empty for a network without a frozen head."""

    temperature: float
    familiar: tuple[float, ...]  # (K,) in [0, 1], one for each class of the frozen head; see `fit_class_familiarity`
    unknown_threshold: float

    def probabilities(self, predictions: Predictions) -> Floats:
        """Return calibrated probabilities (N, C); rows sum to 1."""
        calibrated: Floats = softmax(predictions.logits / self.temperature, axis=1)
        return calibrated

    def is_unknown(self, predictions: Predictions) -> NDArray[np.bool_]:
        """Return for each photo whether its familiarity lies below the threshold: booleans (N,)."""
        return familiarity(predictions, self.familiar) < self.unknown_threshold

    def write(self, path: Path = CALIBRATION) -> None:
        write_json(path, asdict(self), indent=None)

    @classmethod
    def read(cls, path: Path = CALIBRATION) -> "Calibration":
        values = json.loads(path.read_text())
        return cls(**values | {"familiar": tuple(values["familiar"])})


def fit(train: Predictions, val: Predictions, unknown_rate: float) -> Calibration:
    """Fit a calibration in which at most `unknown_rate` of future photos of the classes are called unknown.

    This holds with probability CONFIDENCE, if there are enough validation photos; see `fit_threshold`.
    """
    class_familiarity = fit_class_familiarity(train.frozen_logits)
    threshold = fit_threshold(familiarity(val, class_familiarity), unknown_rate)
    return Calibration(fit_temperature(val.logits, val.labels), class_familiarity, threshold)


def fit_threshold(familiarities: Floats, unknown_rate: float) -> float:
    """Return the highest threshold that at most `unknown_rate` of future photos are below, with probability CONFIDENCE.

    This is a distribution-free tolerance limit (Wilks 1941). For 1,600 photos and a rate of 1 %, it leaves 9 below the
    threshold, not 16. With fewer than 299 photos, no threshold guarantees 1 %; the function then returns the lowest
    value and prints the rate that it guarantees.
    """
    guaranteed = 1 - (1 - CONFIDENCE) ** (1 / len(familiarities))  # the lowest possible rate: that of the lowest value
    if unknown_rate < guaranteed:
        print(
            f"evaluate.unknown_rate is {unknown_rate}, but {len(familiarities)} validation photos guarantee only "
            f"{guaranteed:.2g}; add photos, or set evaluate.unknown_rate to {guaranteed:.2g} or more"
        )
    below = max(0, int(binom.ppf(1 - CONFIDENCE, len(familiarities), unknown_rate)) - 1)
    return float(np.sort(familiarities)[below])


def familiarity(predictions: Predictions, class_familiarity: tuple[float, ...]) -> Floats:
    """Return how much each photo resembles the training photos: (N,), higher is more familiar.

    With a frozen head: the probability, in [0, 1], that the photo shows a known class rather than anything else from
    the pretraining. Without one: the log-sum-exp of the logits (Liu et al. 2020, "Energy-based Out-of-distribution
    Detection").
    """
    if class_familiarity:
        return np.asarray(softmax(predictions.frozen_logits, axis=1) @ np.array(class_familiarity))
    return np.asarray(logsumexp(predictions.logits, axis=1))


def fit_class_familiarity(frozen_logits: Floats) -> tuple[float, ...]:
    """Return (K,): for each class of the frozen head, the probability that a photo of that class shows a known class.

    By Bayes' rule with equal priors, this is q / (q + 1/K), where q is the mean probability of the class on the
    training photos, and 1/K its mean probability on the photos of the pretraining.
    """
    if not frozen_logits.shape[1]:
        return ()
    mean = softmax(frozen_logits.astype(np.float64), axis=1).mean(axis=0)
    return tuple((mean / (mean + 1 / len(mean))).tolist())


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """Return the T that minimizes the log loss of softmax(logits / T) (Guo et al. 2017, "On Calibration").

    The targets leave 1 / (n + 2) to the other classes (Platt 1999). With hard targets, a few photos that are all
    classified correctly would drive T to its lower bound and every probability to 0 or 1.
    """
    classes = logits.shape[1]
    rest = 1 / (len(labels) + 2)
    targets = np.where(np.eye(classes, dtype=bool)[labels], 1 - rest, rest / (classes - 1))  # (n, C)

    def loss(log_t: float) -> float:
        return float(-(targets * log_softmax(logits / np.exp(log_t), axis=1)).sum(axis=1).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))
