"""The levers, and what is said of each."""

import ast

import pytest

from infra.bench import levers
from infra.bench.lever_list import LEVERS, Lever
from infra.bench.measure import Life
from infra.emulator.runtime import ROOT


def a_life(cold_ms: float, warm_ms: float) -> Life:
    return Life(cold_ms, cold_ms - 10, 140.0, [], {"500x375": [warm_ms], "12mp": [5 * warm_ms]})


@pytest.mark.parametrize("lever", LEVERS, ids=lambda lever: lever.name)
def test_every_lever_fits_the_code_as_it_is(lever):
    """Each edit finds its text once, one after the other, and what comes out is Python."""
    texts = {file: (ROOT / "lambda_app" / file).read_text() for file, _, _ in lever.edits}
    for file, old, new in lever.edits:
        assert 1 == texts[file].count(old), old
        texts[file] = texts[file].replace(old, new)
    assert all(ast.parse(text) for text in texts.values())
    assert lever.edits or lever.env or lever.flags


@pytest.mark.process
def test_an_edit_that_does_not_fit_is_an_error(monkeypatch, tmp_path):
    """The table cannot outlive the code."""
    lost = Lever("lost", edits=(("handler.py", "no such line", ""),))
    monkeypatch.setattr(levers, "LEVERS", (lost,))
    monkeypatch.setattr("infra.bench.candidates.STAGED", tmp_path)
    with pytest.raises(SystemExit, match="0 times 'no such line'; expected it once"):
        levers.make(lost)


def test_a_slow_round_cancels_out():
    """The second round was half as fast for both; the lever costs a tenth in each."""
    name = LEVERS[0].name
    rounds = [
        {levers.AS_IT_IS.name: [a_life(400, 10)], name: [a_life(440, 11)]},
        {levers.AS_IT_IS.name: [a_life(800, 20)], name: [a_life(880, 22)]},
    ]
    effect = levers.effect(name, rounds)
    assert ([pytest.approx(0.1)] * 3, [pytest.approx(0.1)] * 3) == (effect["cold"], effect["warm"])


def test_the_table_has_a_row_for_every_lever():
    """And none for the function as it is, which all are compared with."""
    lives = {lever.name: [a_life(400, 10)] for lever in (levers.AS_IT_IS, *LEVERS)}
    found = levers.figures([lives, lives]) | {"commit": "0" * 12}
    rows = levers.render(found).split("\n\n")[0].splitlines()[2:]
    assert [lever.name for lever in LEVERS] == [row.strip("| ").split(" | ")[0] for row in rows]
