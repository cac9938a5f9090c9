"""Drift by numbers: how rarely the same alarms, and what the distance is."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from infra.report.__main__ import REFERENCE
from infra.report.drift import JUDGED, NUMBERS, Reference, Signal, judge, limits
from infra.report.log_reader import SIGNALS
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings


def drawn(reference, count, rng):
    """So many of its photos, with replacement."""
    rows = rng.integers(len(reference), size=count)
    return {name: column[rows] for name, column in reference.columns.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("photos", "references", "weeks"), [(500, 10, 150), (20_000, 12, 10)])
def test_a_week_of_daily_reports_alarms_at_most_once_in_a_hundred(reference, photos, references, weeks):
    """Weeks, and references, drawn from the released one, which plays the world: each of a week's seven reports looks
    at the photos of seven days. Of many photos nearly all the error is the reference's own, so it takes more of those.

    Of 22,500 weeks of 500 photos, and 150 references, 0.6 % alarmed, of the reports 0.12 %; of 5,000 weeks of 20,000
    photos, and 500 references, 0.8 %, of the reports 0.4 %: nine references did, and some of those every day.
    """
    rng, alarms, day = np.random.default_rng(0), 0, photos // 7
    for _ in range(references):
        ours = Reference("1", drawn(reference, len(reference), rng))
        signals = [Signal.of(name, ours.columns[name]) for name in JUDGED]
        answers = np.hstack([signal.answers(reference.columns[signal.name]) for signal in signals])
        expected = np.hstack([signal.shares(ours.columns[signal.name]) for signal in signals])
        days = rng.multinomial(day, np.full(len(reference), 1 / len(reference)), weeks * 13).astype(np.float32)
        shares = (days @ answers.astype(np.float32) / day).reshape(weeks, 13, -1)
        looked = np.lib.stride_tricks.sliding_window_view(shares, 7, axis=1).mean(axis=-1)  # (weeks, reports, edges)
        starts = np.cumsum([0, *(len(signal.edges) for signal in signals)])[:-1]
        found = np.maximum.reduceat(np.abs(looked - expected), starts, axis=2)
        alarms += (found > limits(signals, ours, 7 * day)).any(axis=(1, 2)).sum()
    assert alarms / (references * weeks) <= 0.01


@pytest.mark.parametrize("name", NUMBERS)
def test_a_single_signal_that_moves_is_found(reference, name):
    """Half of its spread, in 500 photos that are otherwise like the reference; the unknown share, from 1 % to 5 %."""
    rng = np.random.default_rng(0)
    week = drawn(reference, 500, rng)
    week[name] = week[name] + week[name].std() / 2
    if name == "unknown":
        week[name] = (rng.random(500) < 0.05).astype(float)
    assert judge(week, reference)[name]["drifted"]


@pytest.mark.slow
def test_a_constant_signal_may_show_a_rare_photo(reference):
    """Of a reference without any unknown photo: two of 500 are no drift, fifty are."""
    ours = Reference("1", {**reference.columns, "unknown": np.zeros(len(reference))})
    week = {**drawn(reference, 500, np.random.default_rng(0)), "unknown": np.zeros(500)}
    week["unknown"][:2] = 1
    assert not judge(week, ours)["unknown"]["drifted"]
    week["unknown"][:50] = 1
    assert judge(week, ours)["unknown"]["drifted"]


@given(st.integers(0, 2**32 - 1), st.floats(-2, 2), st.integers(20, 400))
def test_the_distance_is_kolmogorovs_and_smirnovs(seed, shift, count):
    """Never more than SciPy's, and less by at most the fiftieth between two places, and its edge."""
    rng = np.random.default_rng(seed)
    ours, theirs = rng.normal(size=300), rng.normal(shift, size=count)
    exact = ks_2samp(ours, theirs).statistic
    found = Signal.of("energy", ours).distance(ours, theirs)
    assert exact - 0.02 - 1 / 300 <= found <= exact + 1e-12


def test_the_distance_of_classes_is_that_of_a_share():
    """Cats were 50 % and are 80 %."""
    before, after = (np.array(["cat"] * cats + ["dog"] * (10 - cats), object) for cats in (5, 8))
    assert pytest.approx(0.3) == Signal.of("predicted_class", before).distance(before, after)


@pytest.mark.slow
def test_more_photos_are_judged_more_strictly(reference):
    """Yet never as if the reference were more than the sample that it is."""
    signals = [Signal.of(name, reference.columns[name]) for name in JUDGED]
    few, many, all_the_world = (limits(signals, reference, count) for count in (100, 10_000, 10**8))
    assert (many < few).all()
    assert (all_the_world > 0.7 * many).all()


def test_the_reference_is_of_the_model_that_serves(reference):
    """Of every photo each signal, and the accuracy that was released."""
    metadata = Classifier.load(Settings().model_path).metadata
    assert metadata.model_version == reference.model_version
    assert {(len(reference),)} == {reference.columns[name].shape for name in (*JUDGED, "label")}
    assert all(np.isfinite(reference.columns[name]).all() for name in NUMBERS)
    assert metadata.metrics["test"]["accuracy"] == pytest.approx(reference.accuracy, abs=1.5 / len(reference))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: [values],
        lambda values: {**values, "columns": {}},
        lambda values: {**values, "columns": values["columns"] | {SIGNALS[0]: ["a"]}},
        lambda values: {name: value for name, value in values.items() if name != "model_version"},
    ],
)
def test_a_reference_that_lacks_something_is_named(tmp_path, spoil):
    """With the command that writes a good one."""
    (tmp_path / "reference.json").write_text(json.dumps(spoil(json.loads(REFERENCE.read_text()))))
    with pytest.raises(ValueError, match=r"reference\.json: .*; expected the file that `dvc repro reference` writes$"):
        Reference.read(tmp_path / "reference.json")
