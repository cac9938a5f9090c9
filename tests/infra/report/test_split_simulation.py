"""Test the simulated splits, with fewer runs and other seeds than the documented figures."""

import json

import pytest

from infra.report import split_simulation
from infra.report.split_simulation import RESULT, SCENARIOS, Scenario, simulate

RUNS = 200
DOCUMENTED = json.loads(RESULT.read_text())["scenarios"]


def documented(champion, change, share):
    expected = (champion, pytest.approx(champion + change), share)
    return next(each for each in DOCUMENTED if expected == (each["champion"], each["challenger"], each["share"]))


def test_documented_scenarios_are_current():
    """The documented figures belong to the scenarios of the module."""
    actual = [Scenario(each["champion"], each["challenger"], each["share"]) for each in DOCUMENTED]
    assert SCENARIOS == actual


@pytest.mark.slow
@pytest.mark.parametrize("champion", [0.998, 0.99])
def test_worse_challenger_is_rolled_back_within_documented_labels(champion, monkeypatch):
    """At least 90 % of inferior challengers are rolled back within the documented 95 % quantile; none is promoted."""
    labels = documented(champion, -0.02, 0.4)["labels_p95"]
    monkeypatch.setattr(split_simulation, "DAYS", labels // split_simulation.LABELS_PER_DAY)
    found = simulate(Scenario(champion, champion - 0.02, 0.4), RUNS, seed=1000)
    assert found["rolled_back"] >= 0.9
    assert 0 == found["promoted"]


@pytest.mark.slow
def test_equal_challenger_is_promoted(monkeypatch):
    """Within 100 daily reports, most challengers that equal the champion are promoted."""
    monkeypatch.setattr(split_simulation, "DAYS", 100)
    assert simulate(Scenario(0.99, 0.99, 0.4), RUNS, seed=1001)["promoted"] > 0.5


def test_documented_equal_challengers_are_rarely_rolled_back():
    """In no documented scenario is an equal challenger rolled back in more than 5 % of the runs."""
    equal = [each["rolled_back"] for each in DOCUMENTED if each["champion"] == each["challenger"]]
    assert equal
    assert max(equal) <= 0.05


def test_undecided_runs_count_as_neither(monkeypatch):
    """After one day, no run is decided, and the numbers of labels until a decision are None."""
    monkeypatch.setattr(split_simulation, "DAYS", 1)
    found = simulate(Scenario(0.99, 0.99, 0.4), RUNS, seed=0)
    assert {"rolled_back": 0, "promoted": 0, "labels_median": None, "labels_p95": None} == found
