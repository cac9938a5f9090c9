"""Test the sequential test of two rates: its error rate, its interval and the labels that a decision needs."""

import numpy as np
import pytest
from scipy.special import betaln
from scipy.stats import binom

from infra.report import difference
from infra.report.difference import Counts

ALPHA = 0.05
MARGIN = 0.01


def draw(champion, challenger, runs=300, days=60):
    """Return cumulative counts of 100 labels a day, 40 of them for the challenger."""
    rng = np.random.default_rng(0)
    trials = np.arange(1, days + 1) * np.ones((runs, 1))
    hits = [
        np.cumsum(rng.binomial(count, rate, (runs, days)), axis=1) for count, rate in ((60, champion), (40, challenger))
    ]
    return Counts(hits[0], 60 * trials, hits[1], 40 * trials)


def test_evidence_equals_closed_form_without_difference():
    """For a difference of 0, the largest likelihood is that of the pooled rate."""
    counts = Counts(95, 100, 40, 50)
    mixture = sum(betaln(hits + 1, misses + 0.25) - betaln(1, 0.25) for hits, misses in ((95, 5), (40, 10)))
    pooled = 135 * np.log(135 / 150) + 15 * np.log(15 / 150)
    assert pytest.approx(mixture - pooled) == float(difference.measure_evidence(counts, 0.0))


def test_expected_evidence_against_true_difference_is_at_most_one():
    """For true rates with the difference, the expected evidence, summed over all outcomes, is at most 1."""
    champion, challenger = np.meshgrid(np.arange(31), np.arange(21), indexing="ij")
    for rate in (0.5, 0.9, 0.99):
        probabilities = binom.pmf(champion, 30, rate) * binom.pmf(challenger, 20, rate - 0.1)
        evidence = difference.measure_evidence(
            Counts(champion, 30.0 + 0 * champion, challenger, 20.0 + 0 * challenger), -0.1
        )
        assert (probabilities * np.exp(evidence)).sum() <= 1


@pytest.mark.parametrize("rate", [0.9, 0.99])
def test_equal_versions_rarely_differ_significantly(rate):
    """With daily reports, at most a share alpha of the runs ever finds a difference between equal rates."""
    counts = draw(rate, rate)
    lower, higher = difference.is_below(counts, 0.0, ALPHA), difference.is_above(counts, 0.0, ALPHA)
    assert (lower | higher).any(axis=1).mean() <= ALPHA


def test_worse_challenger_is_found():
    """A challenger at 90 % is found to be below a champion at 99 % in every run, and above it in none."""
    counts = draw(0.99, 0.9)
    assert difference.is_below(counts, 0.0, ALPHA)[:, -1].all()
    assert not difference.is_above(counts, 0.0, ALPHA).any()


def test_interval_ends_where_the_test_decides():
    """A difference just inside the interval is not rejected, and one just outside is."""
    counts = Counts(980, 1000, 285, 300)
    low, high = difference.compute_interval(counts, ALPHA)
    assert low < float(counts.difference()) < high
    outside = (difference.is_above(counts, low - 1e-6, ALPHA), difference.is_below(counts, high + 1e-6, ALPHA))
    inside = (difference.is_above(counts, low + 1e-6, ALPHA), difference.is_below(counts, high - 1e-6, ALPHA))
    assert ((True, True), (False, False)) == (outside, inside)


@pytest.mark.parametrize("counts", [Counts(5, 5, 3, 3), Counts(0, 5, 3, 3), Counts(5, 5, 0, 3), Counts(0, 4, 0, 9)])
def test_interval_contains_extreme_difference(counts):
    """Rates of 0 and 1 give an interval within -1 to 1 around the difference."""
    low, high = difference.compute_interval(counts, ALPHA)
    assert -1 <= low <= float(counts.difference()) <= high <= 1


@pytest.mark.parametrize("counts", [Counts(0, 0, 0, 0), Counts(5, 5, 0, 0), Counts(0, 0, 3, 4)])
def test_missing_labels_give_no_decision(counts):
    """Without labels of both versions, there is no interval, no decision and no number of labels."""
    found = (difference.compute_interval(counts, ALPHA), difference.trials_to_decision(counts, MARGIN, ALPHA))
    assert ((None, None), (False, False)) == (found, difference.decide(counts, MARGIN, ALPHA))


@pytest.mark.parametrize("counts", [Counts(99, 100, 9, 10), Counts(990, 1000, 99, 100)])
def test_trials_to_decision_is_smallest_number(counts):
    """That many more trials at the same rates lead to a decision; 1 % fewer do not."""
    trials = counts.champion_trials + counts.challenger_trials
    needed = difference.trials_to_decision(counts, MARGIN, ALPHA)
    after, before = (counts.scale((trials + share * needed) / trials) for share in (1, 0.99))
    assert needed > 0
    assert any(difference.decide(after, MARGIN, ALPHA))
    assert not any(difference.decide(before, MARGIN, ALPHA))


def test_trials_to_decision_is_limited():
    """Return None if a decision needs more than `MAX_TRIALS`, as for a difference near the margin."""
    slightly_worse = Counts(50_000_000, 100_000_000, 49_999_999, 100_000_000)
    assert difference.trials_to_decision(slightly_worse, 1e-9, ALPHA) is None
