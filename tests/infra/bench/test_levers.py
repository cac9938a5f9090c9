"""Test the levers of the ablation benchmark and their table."""

import ast

import pytest

from infra.bench import levers
from infra.bench.lever_list import LEVERS, Lever
from infra.bench.measure import Life
from infra.emulator.runtime import ROOT


def make_life(cold_ms: float, warm_ms: float) -> Life:
    return Life(cold_ms, cold_ms - 10, 140.0, [], {"500x375": [warm_ms], "12mp": [5 * warm_ms]})


@pytest.mark.parametrize("lever", LEVERS, ids=lambda lever: lever.name)
def test_lever_applies_to_the_current_code(lever):
    """Each edit finds its text exactly once, and the result is valid Python."""
    texts = {file: (ROOT / "lambda_app" / file).read_text() for file, _, _ in lever.edits}
    for file, old, new in lever.edits:
        assert 1 == texts[file].count(old), old
        texts[file] = texts[file].replace(old, new)
    assert all(ast.parse(text) for text in texts.values())
    assert lever.edits or lever.env or lever.flags


@pytest.mark.process
def test_lever_with_unknown_text_is_an_error(monkeypatch, tmp_path):
    """A lever whose text no longer exists raises an error."""
    outdated = Lever("outdated", edits=(("handler.py", "no such line", ""),))
    monkeypatch.setattr(levers, "LEVERS", (outdated,))
    monkeypatch.setattr("infra.bench.candidates.STAGED", tmp_path)
    with pytest.raises(SystemExit, match="0 times 'no such line'; expected it once"):
        levers.make(outdated)


def test_effect_ignores_slow_rounds():
    """The effect is 10 %, although both functions are half as fast in the second round."""
    name = LEVERS[0].name
    rounds = [
        {levers.AS_IT_IS.name: [make_life(400, 10)], name: [make_life(440, 11)]},
        {levers.AS_IT_IS.name: [make_life(800, 20)], name: [make_life(880, 22)]},
    ]
    effect = levers.effect(name, rounds)
    assert ([pytest.approx(0.1)] * 3, [pytest.approx(0.1)] * 3) == (effect["cold"], effect["warm"])


def test_table_has_a_row_for_every_lever():
    """The table has a row per lever, and none for the baseline."""
    lives = {lever.name: [make_life(400, 10)] for lever in (levers.AS_IT_IS, *LEVERS)}
    found = levers.figures([lives, lives]) | {"commit": "0" * 12}
    rows = levers.render(found).split("\n\n")[0].splitlines()[2:]
    assert [lever.name for lever in LEVERS] == [row.strip("| ").split(" | ")[0] for row in rows]
