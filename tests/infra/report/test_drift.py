"""Test drift detection: the rate of false alarms, the distances and the limits."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from infra.report.__main__ import REFERENCE
from infra.report.drift import SIGNAL_COLUMNS, Signal, drift_limits, measure_drift
from infra.report.reference import Reference
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings
from lambda_app.signals import NUMERIC_FIELDS, SIGNALS


def draw_photos(reference, count, rng):
    """Draw photos of the reference with replacement."""
    rows = rng.integers(len(reference), size=count)
    return {name: column[rows] for name, column in reference.columns.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("photos", "references", "weeks"), [(500, 10, 150), (20_000, 12, 10)])
def test_false_alarm_rate_is_at_most_one_percent_of_weeks(reference, photos, references, weeks):
    """Fewer than 1 % of simulated weeks raise an alarm.

    Weeks and references are drawn from the released reference, and each of the seven daily reports covers seven days.
    With many photos, most of the error is that of the reference, so more references are drawn. In a longer run, 0.6 %
    of 22,500 weeks with 500 photos and 150 references alarmed (0.12 % of the reports), and 0.8 % of 5,000 weeks with
    20,000 photos and 500 references (0.4 % of the reports; nine references alarmed, some of them daily).
    """
    rng, alarms, day = np.random.default_rng(0), 0, photos // 7
    for _ in range(references):
        sample = Reference("1", draw_photos(reference, len(reference), rng))
        signals = [Signal.from_values(name, sample.columns[name]) for name in SIGNAL_COLUMNS]
        indicators = np.hstack([signal.indicators(reference.columns[signal.name]) for signal in signals])
        expected = np.hstack([signal.shares(sample.columns[signal.name]) for signal in signals])
        days = rng.multinomial(day, np.full(len(reference), 1 / len(reference)), weeks * 13).astype(np.float32)
        shares = (days @ indicators.astype(np.float32) / day).reshape(weeks, 13, -1)
        reports = np.lib.stride_tricks.sliding_window_view(shares, 7, axis=1).mean(axis=-1)  # (weeks, reports, edges)
        starts = np.cumsum([0, *(len(signal.edges) for signal in signals)])[:-1]
        found = np.maximum.reduceat(np.abs(reports - expected), starts, axis=2)
        alarms += (found > drift_limits(signals, sample, 7 * day)).any(axis=(1, 2)).sum()
    assert alarms / (references * weeks) <= 0.01


@pytest.mark.slow
@pytest.mark.parametrize("name", NUMERIC_FIELDS)
def test_shift_of_a_single_signal_is_detected(reference, name):
    """500 photos suffice to detect a shift of half a standard deviation, or an unknown share of 5 % instead of 1 %."""
    rng = np.random.default_rng(0)
    week = draw_photos(reference, 500, rng)
    week[name] = week[name] + week[name].std() / 2
    if name == "unknown":
        week[name] = (rng.random(500) < 0.05).astype(float)
    assert measure_drift(week, reference)[name]["drifted"]


@pytest.mark.slow
def test_rare_photos_are_not_drift(reference):
    """Against a reference without unknown photos, 2 unknown photos of 500 are not drift, but 50 are."""
    sample = Reference("1", {**reference.columns, "unknown": np.zeros(len(reference))})
    week = {**draw_photos(reference, 500, np.random.default_rng(0)), "unknown": np.zeros(500)}
    week["unknown"][:2] = 1
    assert not measure_drift(week, sample)["unknown"]["drifted"]
    week["unknown"][:50] = 1
    assert measure_drift(week, sample)["unknown"]["drifted"]


@given(st.integers(0, 2**32 - 1), st.floats(-2, 2), st.integers(20, 400))
def test_distance_approximates_the_ks_statistic(seed, shift, count):
    """The distance is at most SciPy's statistic, and at least this minus 0.02 (between two quantiles) and one photo."""
    rng = np.random.default_rng(seed)
    reference, traffic = rng.normal(size=300), rng.normal(shift, size=count)
    exact = ks_2samp(reference, traffic).statistic
    found = Signal.from_values("energy", reference).distance(reference, traffic)
    assert exact - 0.02 - 1 / 300 - 1e-12 <= found <= exact + 1e-12


def test_class_distance_is_the_difference_of_shares():
    """A share of cats that rises from 50 % to 80 % is a distance of 0.3."""
    before, after = (np.array(["cat"] * cats + ["dog"] * (10 - cats), object) for cats in (5, 8))
    assert pytest.approx(0.3) == Signal.from_values("predicted_class", before).distance(before, after)


@pytest.mark.slow
def test_limits_shrink_with_more_photos(reference):
    """More photos lower the limits, down to a bound that depends on the size of the reference."""
    signals = [Signal.from_values(name, reference.columns[name]) for name in SIGNAL_COLUMNS]
    few, many, infinite = (drift_limits(signals, reference, count) for count in (100, 10_000, 10**8))
    assert (many < few).all()
    assert (infinite > 0.7 * many).all()


def test_reference_belongs_to_the_released_model(reference):
    """The reference has every signal of every photo, and the accuracy of the release."""
    metadata = Classifier.load(Settings().model_path).metadata
    assert metadata.model_version == reference.model_version
    assert {(len(reference),)} == {reference.columns[name].shape for name in (*SIGNAL_COLUMNS, "label")}
    assert all(np.isfinite(reference.columns[name]).all() for name in NUMERIC_FIELDS)
    assert metadata.metrics["test"]["accuracy"] == pytest.approx(reference.accuracy, abs=1.5 / len(reference))


@pytest.mark.parametrize(("labeled", "command"), [(True, "dvc repro drift_reference"), (False, "make baseline")])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: [values],
        lambda values: {**values, "columns": {}},
        lambda values: {**values, "columns": values["columns"] | {SIGNALS[0]: ["a"]}},
        lambda values: {name: value for name, value in values.items() if name != "model_version"},
    ],
)
def test_incomplete_reference_is_refused(tmp_path, spoil, labeled, command):
    """The error names the file and the command that writes it."""
    (tmp_path / "reference.json").write_text(json.dumps(spoil(json.loads(REFERENCE.read_text()))))
    with pytest.raises(ValueError, match=rf"reference\.json: .*; expected the file that `{command}` writes$"):
        Reference.read(tmp_path / "reference.json", labeled=labeled)
