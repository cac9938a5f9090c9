"""Test the measurement of the attempts to quantize, with two of them on drawings."""

import json

import pytest

from export import int8_attempts
from export.int8_attempts import ATTEMPTS, CHOSEN, FIGURES, render


@pytest.fixture
def attempts(candidates, monkeypatch):
    """Measure the first attempt and the chosen one in a project, and return their figures."""
    chosen = {name: ATTEMPTS[name] for name in ("calibration alone", CHOSEN)}
    monkeypatch.setattr(int8_attempts, "ATTEMPTS", chosen)
    int8_attempts.main()
    return json.loads(FIGURES.read_text())


def test_attempts_are_compared_with_fp32(attempts):
    """Each attempt has its size and its errors on the validation photos, and none changes every class."""
    assert ["calibration alone", CHOSEN] == [each["name"] for each in attempts["attempts"]]
    for each in attempts["attempts"]:
        assert 0 < each["logit_error"] < 0.2
        assert 0 <= each["changed"] < attempts["photos"]


def test_finished_attempts_are_kept(attempts):
    """Another run of the command measures only what is missing."""
    attempts["attempts"] = [attempts["attempts"][0] | {"mb": 1.25}]
    FIGURES.write_text(json.dumps(attempts))
    int8_attempts.main()
    figures = json.loads(FIGURES.read_text())["attempts"]
    assert [1.25, CHOSEN] == [figures[0]["mb"], figures[1]["name"]]


def test_table_has_a_row_for_each_attempt(attempts):
    """The table names every attempt with its error in percent."""
    rows = render().splitlines()[2:]
    assert [f"| {each['name']} " for each in attempts["attempts"]] == [row[: row.index("|", 1)] for row in rows]
