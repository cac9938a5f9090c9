"""What a photo costs in the batch: a short run of the real handler, and what is made of figures."""

import pytest

from infra.bench.batch import LIMIT, MEASURED, costs, measure, render

LEAST = 10.0


def figures(ratio):
    ms = {"handler": {"p50": ratio * LEAST, "p95": 30}, "least": {"p50": LEAST, "p95": 30}}
    network = {"1": {"p50": 5.0, "p95": 6}, "2": {"p50": 4.5, "p95": 6}}
    about = {"hardware": "one abacus", "commit": "0123456789ab", "turns": 5}
    return about | {"ms": dict.fromkeys(MEASURED, ms), "network_ms": network}


@pytest.mark.process
def test_a_short_run_measures_all(monkeypatch):
    """The handler, what it cannot do without, and the network by batch; which is longer, ten photos do not show."""
    monkeypatch.setattr("infra.bench.batch.MEASURED", MEASURED[:1])
    found = measure(turns=1, photos=10)
    assert ["handler", "least"] == list(found["ms"][MEASURED[0]])
    assert all(ms["p50"] > 0 for ms in found["ms"][MEASURED[0]].values())
    assert ["1", "2", "4", "8", "16"] == list(found["network_ms"])


@pytest.mark.parametrize(("ratio", "verdict"), [(LIMIT - 0.01, "met"), (LIMIT + 0.01, "**missed**")])
def test_the_table_says_whether_the_limit_was_kept(ratio, verdict):
    """A row for each photo."""
    page = render(figures(ratio))
    assert f"| 500x375 | {ratio * LEAST:.2f} | 10.00 | {ratio:.2f} x | ≤ 1.2 x | {verdict} |" in page
    assert "| 2 | 4.50 |" in page
    assert "Medians of 5 turns on one abacus; commit `0123456789ab`." in page


def test_what_100_million_photos_cost():
    """Compute by the millisecond, and every request that is made for them; time by how many work at it."""
    page = costs(figures(1.1))
    # 12 ms a photo with the wait; 1,769 MB; a million messages, each an invocation.
    assert f"| Lambda, time | {100e6 * 0.012 * 1769 / 1024 * 0.0000166667:.2f} |" in page
    assert "| Lambda, requests | 0.20 |" in page
    assert "| S3, photos read | 40.00 |" in page
    assert "| S3, results written and read | 5.40 |" in page
    assert "| SQS | 0.84 |" in page
    assert "| 2 | 167 | 166.7 |" in page
