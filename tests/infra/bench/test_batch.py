"""Test the benchmark of the batch handler: a short run of the real handler, and the tables."""

import pytest

from infra.bench.batch import LIMIT, MEASURED, measure, render, render_costs

FLOOR = 10.0


def make_figures(ratio):
    ms = {"handler": {"p50": ratio * FLOOR, "p95": 30}, "floor": {"p50": FLOOR, "p95": 30}}
    network = {"1": {"p50": 5.0, "p95": 6}, "2": {"p50": 4.5, "p95": 6}}
    source = {"hardware": "test machine", "commit": "0123456789ab", "turns": 5}
    return source | {"ms": dict.fromkeys(MEASURED, ms), "network_ms": network}


@pytest.mark.process
def test_measure_times_every_way(monkeypatch):
    """A short run times the handler, its lower bound, and the network by batch size."""
    monkeypatch.setattr("infra.bench.batch.MEASURED", MEASURED[:1])
    result = measure(turns=1, photos=10)
    assert ["handler", "floor"] == list(result["ms"][MEASURED[0]])
    assert all(ms["p50"] > 0 for ms in result["ms"][MEASURED[0]].values())
    assert ["1", "2", "4", "8", "16"] == list(result["network_ms"])


@pytest.mark.parametrize(("ratio", "verdict"), [(LIMIT - 0.01, "met"), (LIMIT + 0.01, "**missed**")])
def test_table_states_whether_the_limit_is_met(ratio, verdict):
    """The table has a row per photo with its ratio and verdict."""
    page = render(make_figures(ratio))
    assert f"| 500x375 | {ratio * FLOOR:.2f} | 10.00 | {ratio:.2f} x | ≤ {LIMIT} x | {verdict} |" in page
    assert "| 2 | 4.50 |" in page
    assert "Medians of 5 turns on test machine; commit `0123456789ab`." in page


def test_costs_of_100_million_photos():
    """Costs cover compute time and all requests; durations depend on the concurrency."""
    page = render_costs(make_figures(1.1))
    # 12 ms per photo including the wait, 1,769 MB, and a million messages with one invocation each.
    assert f"| Lambda, time | {100e6 * 0.012 * 1769 / 1024 * 0.0000166667:.2f} |" in page
    assert "| Lambda, requests | 0.20 |" in page
    assert "| S3, photos read | 40.00 |" in page
    assert "| S3, results written and read | 5.40 |" in page
    assert "| SQS | 0.84 |" in page
    assert "| 2 | 167 | 166.7 |" in page
