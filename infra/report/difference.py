"""Test the difference of two rates with an always-valid sequential test, so that the report may run at any time.

The champion and the challenger each have a number of trials and of hits, such as labels and correct predictions. The
evidence against a difference is a likelihood ratio: the numerator is a mixture over all rates, the denominator is the
largest likelihood of any two rates with that difference. For the true difference, the probability that the evidence
ever exceeds 1/alpha is at most alpha (Robbins 1970; Wasserman, Ramdas and Balakrishnan 2020, "Universal inference",
https://doi.org/10.1073/pnas.1922664117, the section on sequential tests). The differences without such evidence form a
confidence sequence.

Packages with such tests have large requirements: confseq 0.0.11 needs Boost to build, and savvi 0.3.1 installs convex
solvers. This module needs only SciPy.
"""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy

# The mixture: for each rate, a beta distribution that expects few misses. The test is valid with any mixture; with
# Beta(1, 1), it needs 50 % more labels to find a challenger at 97 % beside a champion at 99 % (simulated).
PRIOR_HITS, PRIOR_MISSES = 1.0, 0.25
STEPS = 50  # of bisection; each halves the error
MAX_TRIALS = 10_000_000  # more labels than a split can collect
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """Hits and trials of both versions: numbers, or arrays of equal shape."""

    champion_hits: ArrayLike
    champion_trials: ArrayLike
    challenger_hits: ArrayLike
    challenger_trials: ArrayLike

    def arrays(self) -> tuple[Values, Values, Values, Values]:
        """Return the hits and misses of the champion, then those of the challenger."""
        hits, trials = np.asarray(self.champion_hits, float), np.asarray(self.champion_trials, float)
        other_hits, other_trials = np.asarray(self.challenger_hits, float), np.asarray(self.challenger_trials, float)
        return hits, trials - hits, other_hits, other_trials - other_hits

    def scale(self, factor: float) -> "Counts":
        return Counts(*(np.asarray(value) * factor for value in vars(self).values()))

    def difference(self) -> Values:
        """Return the challenger's rate minus the champion's; NaN without trials."""
        hits, misses, other_hits, other_misses = self.arrays()
        with np.errstate(invalid="ignore"):
            return np.asarray(other_hits / (other_hits + other_misses) - hits / (hits + misses))


def measure_evidence(counts: Counts, difference: float) -> Values:
    """Return the log of the evidence against the hypothesis that the true rates have this difference."""
    prior = PRIOR_HITS, PRIOR_MISSES
    hits, misses, other_hits, other_misses = counts.arrays()
    mixture = betaln(hits + prior[0], misses + prior[1]) + betaln(other_hits + prior[0], other_misses + prior[1])
    return np.asarray(mixture - 2 * betaln(*prior) - _max_log_likelihood(counts, difference))


def _max_log_likelihood(counts: Counts, difference: float) -> Values:
    """Return the largest log-likelihood of two rates with this difference. Its slope decreases, so bisection works."""
    hits, misses, other_hits, other_misses = counts.arrays()
    low, high = np.full(hits.shape, max(0.0, -difference)), np.full(hits.shape, min(1.0, 1.0 - difference))
    for _ in range(STEPS):
        rate = (low + high) / 2
        other = rate + difference
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = hits / rate - misses / (1 - rate) + other_hits / other - other_misses / (1 - other)
        low, high = np.where(slope > 0, rate, low), np.where(slope > 0, high, rate)
    rate, other = low, np.clip(low + difference, 0, 1)
    # At the bounds of the search, one rate is 0 or 1 and the slope may not exist; the larger likelihood is the maximum.
    return np.maximum(
        _log_likelihood(counts, rate, other), _log_likelihood(counts, high, np.clip(high + difference, 0, 1))
    )


def _log_likelihood(counts: Counts, rate: Values, other: Values) -> Values:
    hits, misses, other_hits, other_misses = counts.arrays()
    parts = (xlogy(hits, rate), xlog1py(misses, -rate), xlogy(other_hits, other), xlog1py(other_misses, -other))
    return np.asarray(sum(parts))


def is_below(counts: Counts, limit: float, alpha: float) -> NDArray[np.bool_]:
    """Return whether the difference is significantly below the limit.

    If the true difference is at or above the limit, the probability that this is ever true is at most alpha.
    """
    return np.asarray((counts.difference() < limit) & (measure_evidence(counts, limit) >= np.log(1 / alpha)))


def is_above(counts: Counts, limit: float, alpha: float) -> NDArray[np.bool_]:
    """Return whether the difference is significantly above the limit, with the same guarantee as `is_below`."""
    return np.asarray((counts.difference() > limit) & (measure_evidence(counts, limit) >= np.log(1 / alpha)))


def compute_interval(counts: Counts, alpha: float) -> list[float] | None:
    """Return the current interval of the confidence sequence of the difference, or None without trials."""
    middle, end = float(counts.difference()), 1 - 1e-9
    if np.isnan(middle):
        return None

    def excess(difference: float) -> float:
        return float(measure_evidence(counts, difference) + np.log(alpha))

    middle = min(max(middle, -end), end)
    low = brentq(excess, -end, middle) if excess(-end) > 0 and middle > -end else -1.0
    high = brentq(excess, middle, end) if excess(end) > 0 and middle < end else 1.0
    return [float(low), float(high)]


def decide(counts: Counts, margin: float, alpha: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether the challenger is significantly worse, and whether it is non-inferior within the margin."""
    return is_below(counts, 0.0, alpha), is_above(counts, -margin, alpha)


def trials_to_decision(counts: Counts, margin: float, alpha: float) -> int | None:
    """Return how many more trials of both versions a decision needs if the observed rates and shares do not change.

    Return None without trials, or if the total would exceed `MAX_TRIALS`.
    """
    trials = float(np.asarray(counts.champion_trials) + np.asarray(counts.challenger_trials))
    if np.isnan(counts.difference()):
        return None
    limit = MAX_TRIALS - int(trials)
    more = bisect_left(
        range(limit), True, key=lambda more: bool(np.any(decide(counts.scale(1 + more / trials), margin, alpha)))
    )
    return more if more < limit else None
