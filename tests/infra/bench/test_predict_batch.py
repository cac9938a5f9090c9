"""What a batch saves: a short run of the real function, and what is made of figures."""

import json

import httpx2
import pytest

from infra.bench.predict_batch import FIGURES, SIZES, measure, render


def figures(share):
    ms = {str(size): {"p50": 10 * share, "p95": 20} for size in SIZES} | {"1": {"p50": 10, "p95": 12.34}}
    return {"hardware": "one abacus", "commit": "0123456789ab", "photo": "500x375", "turns": 50, "ms_per_photo": ms}


@pytest.mark.process
def test_a_short_run_clocks_every_size():
    """Through the function URL. Which size is faster, only the benchmark's idle minute can tell."""
    ms = {size: times["p50"] for size, times in measure(turns=1)["ms_per_photo"].items()}
    assert ["1", *map(str, SIZES)] == list(ms)
    assert 0 < min(ms.values())


def test_a_photo_of_the_largest_batch_took_less_time_than_one_alone():
    """As last measured, by `make bench`."""
    ms = json.loads(FIGURES.read_text())["ms_per_photo"]
    assert 0 < ms[str(SIZES[-1])]["p50"] < ms["1"]["p50"]


@pytest.mark.process
def test_a_function_that_refuses_is_not_measured(monkeypatch):
    """What fails fast must not look fast."""
    monkeypatch.setenv("MAX_BATCH", "8")
    with pytest.raises(httpx2.HTTPStatusError, match="422"):
        measure(turns=1)


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.79, "0.79 of a single request, limit 0.8: met"), (0.81, "**missed**")]
)
def test_the_table_says_whether_the_limit_was_kept(share, verdict):
    """Milliseconds a photo, and where they were measured."""
    page = render(figures(share))
    assert "| 1 | 10.0 | 12.3 | 1.00 |" in page
    assert verdict in page
    assert "50 turns with 500x375, on one abacus; commit `0123456789ab`." in page
