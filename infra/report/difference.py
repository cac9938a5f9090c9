"""Test the difference of two rates so that the result is valid at every look, however often the report runs.

The champion and the challenger each have a number of trials and of hits, such as labels and correct predictions. The
evidence against a difference is a likelihood ratio: the numerator is a mixture over all rates, the denominator is the
largest likelihood of any two rates with that difference. If the difference is true, the evidence ever exceeds 1/alpha
with probability alpha or less (Robbins 1970; Wasserman, Ramdas and Balakrishnan 2020, "Universal inference",
https://doi.org/10.1073/pnas.1922664117, the section on sequential tests). The differences without such evidence form a
confidence sequence.

The packages for such tests do not fit: confseq 0.0.11 does not build without Boost, and savvi 0.3.1 installs solvers of
convex programs. The closed form needs neither.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy

# The mixture: a beta distribution of each rate that expects few misses. With Beta(1, 1), finding a challenger at 97 %
# beside a champion at 99 % takes half as many labels again (simulated). The guarantee holds with any mixture.
HITS, MISSES = 1.0, 0.25
STEPS = 50  # of bisection; each halves the error
MOST_LABELS = 10_000_000  # a decision that needs more is out of reach
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
    """Return the logarithm of the evidence against a difference of the true rates."""
    hits, misses, other_hits, other_misses = counts.arrays()
    mixture = betaln(hits + HITS, misses + MISSES) + betaln(other_hits + HITS, other_misses + MISSES)
    likelihood = mixture - 2 * betaln(HITS, MISSES) - _largest_likelihood(counts, difference)
    return np.asarray(likelihood)


def _largest_likelihood(counts: Counts, difference: float) -> Values:
    """Return the largest log-likelihood of two rates with that difference. Its slope falls, so bisection finds it."""
    hits, misses, other_hits, other_misses = counts.arrays()
    low, high = np.full(hits.shape, max(0.0, -difference)), np.full(hits.shape, min(1.0, 1.0 - difference))
    for _ in range(STEPS):
        rate = (low + high) / 2
        other = rate + difference
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = hits / rate - misses / (1 - rate) + other_hits / other - other_misses / (1 - other)
        low, high = np.where(slope > 0, rate, low), np.where(slope > 0, high, rate)
    rate, other = low, np.clip(low + difference, 0, 1)
    # The bounds of the search are limits of the likelihood, so the larger one counts where the maximum is at a bound.
    return np.maximum(_likelihood(counts, rate, other), _likelihood(counts, high, np.clip(high + difference, 0, 1)))


def _likelihood(counts: Counts, rate: Values, other: Values) -> Values:
    hits, misses, other_hits, other_misses = counts.arrays()
    parts = (xlogy(hits, rate), xlog1py(misses, -rate), xlogy(other_hits, other), xlog1py(other_misses, -other))
    return np.asarray(sum(parts))


def is_below(counts: Counts, limit: float, alpha: float) -> NDArray[np.bool_]:
    """Return whether the difference is surely below the limit.

    For a true difference at the limit or above, this ever happens with probability alpha or less.
    """
    return np.asarray((counts.difference() < limit) & (measure_evidence(counts, limit) >= np.log(1 / alpha)))


def is_above(counts: Counts, limit: float, alpha: float) -> NDArray[np.bool_]:
    """Return whether the difference is surely above the limit."""
    return np.asarray((counts.difference() > limit) & (measure_evidence(counts, limit) >= np.log(1 / alpha)))


def interval(counts: Counts, alpha: float) -> list[float] | None:
    """Return the interval of the difference that holds at all looks together, or None without trials."""
    middle, end = float(counts.difference()), 1 - 1e-9
    if np.isnan(middle):
        return None

    def excess(difference: float) -> float:
        return float(measure_evidence(counts, difference) + np.log(alpha))

    middle = min(max(middle, -end), end)
    low = brentq(excess, -end, middle) if excess(-end) > 0 and middle > -end else -1.0
    high = brentq(excess, middle, end) if excess(end) > 0 and middle < end else 1.0
    return [float(low), float(high)]


def decide(counts: Counts, margin: float, alpha: float) -> tuple[Any, Any]:
    """Return whether the challenger is surely worse, and whether it is surely less than `margin` worse."""
    return is_below(counts, 0.0, alpha), is_above(counts, -margin, alpha)


def trials_to_decision(counts: Counts, margin: float, alpha: float) -> int | None:
    """Return how many more trials of both versions a decision needs if their rates and shares stay as they are.

    Return None without trials, or if the number is beyond `MOST_LABELS`.
    """
    trials = float(np.asarray(counts.champion_trials) + np.asarray(counts.challenger_trials))
    if np.isnan(counts.difference()) or not np.any(decide(counts.scale(MOST_LABELS / trials), margin, alpha)):
        return None
    low, high = 1.0, MOST_LABELS / trials
    while (high - low) * trials > 1:
        middle = (low * high) ** 0.5 if high > 2 * low else (low + high) / 2
        low, high = (low, middle) if np.any(decide(counts.scale(middle), margin, alpha)) else (middle, high)
    return int(np.ceil((high - 1) * trials))
