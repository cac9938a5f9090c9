"""Test the benchmark of telemetry: a short run of the real function, and the table."""

import pytest

from infra.bench import telemetry
from infra.bench.telemetry import LABELS, measure, render


def make_figures(overhead):
    us = {name: {"p50": 100.4, "p95": 200.6} for name in LABELS}
    us |= {"with": {"p50": 10_000, "p95": 20_000}, "without": {"p50": 10_000 - overhead, "p95": 20_000}}
    return {"hardware": "test machine", "commit": "0123456789ab", "photo": "500x375", "requests": 1000, "us": us}


@pytest.mark.process
def test_measure_times_every_part():
    """Every part has a measured time."""
    result = measure(turns=1)
    us = {name: times["p50"] for name, times in result["us"].items()}
    assert (25, set(LABELS)) == (result["requests"], set(us))
    assert 0 < min(us.values())


@pytest.mark.process
def test_measure_rejects_error_responses(monkeypatch, capfd):
    """Responses with another status than 200 raise an error instead of counting as fast."""
    monkeypatch.setenv("MAX_IMAGE_BYTES", "1")
    with pytest.raises(telemetry.subprocess.CalledProcessError):
        measure(turns=1)
    assert "answered 413; expected 200" in capfd.readouterr().err


@pytest.mark.parametrize(("overhead", "verdict"), [(190, "met"), (210, "**missed**")])
def test_table_states_whether_the_limit_is_met(overhead, verdict):
    """The table has microseconds, the verdict and the source."""
    page = render(make_figures(overhead))
    assert "| signals: seven numbers per photo and prediction | 100 | 201 |" in page
    assert f"Overhead per request: {overhead} microseconds, {overhead / 100:.1f} %, limit 2 %: {verdict}." in page
    assert "Medians of 1,000 requests each way with 500x375, on test machine; commit `0123456789ab`." in page
