"""Test the benchmark of batch requests: a short run of the real function, and the table."""

import httpx2
import pytest

from infra.bench.predict_batch import SIZES, measure, render


def make_figures(share):
    ms = {str(size): {"p50": 10 * share, "p95": 20} for size in SIZES} | {"1": {"p50": 10, "p95": 12.34}}
    return {"hardware": "test machine", "commit": "0123456789ab", "photo": "500x375", "turns": 50, "ms_per_photo": ms}


@pytest.mark.process
def test_measure_times_every_size():
    """A short run times every batch size through the function URL. It is too short to compare them."""
    ms = {size: times["p50"] for size, times in measure(turns=1)["ms_per_photo"].items()}
    assert ["1", *map(str, SIZES)] == list(ms)
    assert 0 < min(ms.values())


@pytest.mark.process
def test_measure_rejects_error_responses(monkeypatch):
    """Responses with an error status raise an error instead of counting as fast."""
    monkeypatch.setenv("MAX_BATCH", "8")
    with pytest.raises(httpx2.HTTPStatusError, match="422"):
        measure(turns=1)


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.79, "takes 0.79 times as long as a single request, limit 0.8: met"), (0.81, "**missed**")]
)
def test_table_states_whether_the_limit_is_met(share, verdict):
    """The table has milliseconds per photo, the verdict and the source."""
    page = render(make_figures(share))
    assert "| 1 | 10.0 | 12.3 | 1.00 |" in page
    assert verdict in page
    assert "50 turns with 500x375, on test machine; commit `0123456789ab`." in page
