"""What is fitted once a network is trained, so that its answers can be believed: temperature, and when to say unknown.

The threshold comes from validation photos of the classes alone: no picture of anything else is needed, or seen.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import binom

from training.model import Floats, Labels, Scored

CALIBRATION = Path("artifacts/calibration.json")
REPORT = Path("artifacts/metrics/evaluate.json")  # here, so that export reads it without the imports of evaluation
CONFIDENCE = 0.95  # that no more of the photos to come are called unknown than may be


@dataclass(frozen=True)
class Calibration:
    """Fitted numbers; `familiar` is empty where the network remembers no pretraining."""

    temperature: float
    familiar: tuple[float, ...]  # (K,) see `fit_familiar`
    unknown_threshold: float

    def probabilities(self, scored: Scored) -> Floats:
        """(n, C), rows sum to 1."""
        calibrated: Floats = softmax(scored.logits / self.temperature, axis=1)
        return calibrated

    def unknown(self, scored: Scored) -> NDArray[np.bool_]:
        return familiarity(scored, self.familiar) < self.unknown_threshold

    def write(self, path: Path = CALIBRATION) -> None:
        path.write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path = CALIBRATION) -> "Calibration":
        values = json.loads(path.read_text())
        return cls(**values | {"familiar": tuple(values["familiar"])})


def fit(train: Scored, val: Scored, unknown_rate: float) -> Calibration:
    """`unknown_rate` is the share of photos of the classes that may be called unknown."""
    familiar = fit_familiar(train.recalled)
    threshold = fit_threshold(familiarity(val, familiar), unknown_rate)
    return Calibration(fit_temperature(val.logits, val.labels), familiar, threshold)


def fit_threshold(familiarities: Floats, unknown_rate: float) -> float:
    """The highest of n values below which, with CONFIDENCE, at most `unknown_rate` of the photos to come will lie.

    A tolerance limit free of any distribution (Wilks 1941): of 1,600 photos it leaves 9 below, where 1 % are 16. Of
    fewer than 299 not even the lowest value can promise 1 %; it is taken all the same, and what it promises is said.
    """
    promised = 1 - (1 - CONFIDENCE) ** (1 / len(familiarities))  # by the lowest value
    if unknown_rate < promised:
        print(f"evaluate.unknown_rate is {unknown_rate}; {len(familiarities)} validation photos promise {promised:.2g}")
    below = max(0, int(binom.ppf(1 - CONFIDENCE, len(familiarities), unknown_rate)) - 1)
    return float(np.sort(familiarities)[below])


def familiarity(scored: Scored, familiar: tuple[float, ...]) -> Floats:
    """(n,), higher for photos like those of the training.

    With a memory: the probability that the photo is one of ours rather than any of the pretraining's, in [0, 1].
    Without one: the log-sum-exp of the logits (Liu et al. 2020, "Energy-based Out-of-distribution Detection").
    """
    known = softmax(scored.recalled, axis=1) @ np.array(familiar) if familiar else logsumexp(scored.logits, axis=1)
    return np.asarray(known)


def fit_familiar(recalled: Floats) -> tuple[float, ...]:
    """For each of K remembered classes, the probability that what looks like it is ours: q / (q + 1/K) by Bayes' rule.

    q is how often our photos look like it, 1/K how often the pretraining's did; both kinds are taken as equally likely.
    """
    if not recalled.shape[1]:
        return ()
    ours = softmax(recalled.astype(np.float64), axis=1).mean(axis=0)
    return tuple((ours / (ours + 1 / len(ours))).tolist())


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
