"""What the telemetry costs: a short run of the real function, and what is made of figures."""

import pytest

from infra.bench import telemetry
from infra.bench.telemetry import WORDS, measure, render


def figures(cost):
    us = {name: {"p50": 100.4, "p95": 200.6} for name in WORDS} | {"with": {"p50": 100.4 + cost, "p95": 900}}
    return {"hardware": "one abacus", "commit": "0123456789ab", "photo": "500x375", "requests": 1000, "us": us}


@pytest.mark.process
def test_a_short_run_clocks_both_ways():
    """Every part takes some time, and all of them less than the request that they are in."""
    found = measure(turns=1)
    us = {name: times["p50"] for name, times in found["us"].items()}
    assert (25, set(WORDS)) == (found["requests"], set(us))
    assert 0 < min(us["signals"], us["record"]) < us["telemetry"] < us["with"]


@pytest.mark.process
def test_a_function_that_does_not_answer_is_not_measured(monkeypatch, capfd):
    """What fails fast must not look fast."""
    monkeypatch.setenv("MAX_IMAGE_BYTES", "1")
    with pytest.raises(telemetry.subprocess.CalledProcessError):
        measure(turns=1)
    assert "answered 413; expected 200" in capfd.readouterr().err


@pytest.mark.parametrize(("cost", "verdict"), [(499, "met"), (501, "**missed**")])
def test_the_table_says_whether_the_limit_was_kept(cost, verdict):
    """Microseconds, and where they were measured."""
    page = render(figures(cost))
    assert "| signals: seven numbers of photo and answer | 100 | 201 |" in page
    assert f"A request costs {cost} more with it, limit 500: {verdict}." in page
    assert "Medians of 1,000 requests each way with 500x375, on one abacus; commit `0123456789ab`." in page
