"""Test the summary of the runs of a candidate."""

import pytest

from infra.bench.measure import Run, estimate_cost, quantiles, summarize


def make_run(cold_ms: float = 500, init_ms: float = 450, rss_mb: float = 140) -> Run:
    warm = {"500x375": [10.0, 12.0, 11.0], "12mp": [50.0]}
    return Run(cold_ms, init_ms, rss_mb, durations_ms=[9.1, 9.9, 10.5], warm_ms=warm, health_ms=[2.0])


def test_median_of_two_values_is_their_mean():
    """Quantiles interpolate between the two nearest values."""
    assert {"p50": 15.0} == quantiles([10, 20], 50)


def test_summary_has_the_documented_fields():
    """The fields are those in artifacts/bench.json, with quantiles over the runs."""
    figures = summarize([make_run(), make_run(cold_ms=700)], image_mb=200.0)
    fields = {"cold_ms", "init_ms", "first_ms", "warm_ms", "health_ms", "rss_mb", "image_mb", "billed_ms"}
    assert fields | {"usd_per_million"} == set(figures)
    assert {"p50": 600, "p95": 690, "n": 2} == figures["cold_ms"]
    assert {"p50": 11.0, "p95": 12.0, "p99": 12.0} == figures["warm_ms"]["500x375"]


def test_summary_uses_the_highest_memory_peak():
    """The peak is the maximum over the runs, because the limit must hold in each."""
    assert 152.0 == summarize([make_run(rss_mb=140), make_run(rss_mb=152)], None)["rss_mb"]


def test_init_and_first_request_sum_to_the_cold_start():
    """A cold start of 500 ms consists of 450 ms of INIT and 50 ms of the first request."""
    figures = summarize([make_run()], None)
    assert (450, 50) == (figures["init_ms"]["p50"], figures["first_ms"]["p50"])


def test_billed_time_is_the_mean_of_rounded_invocations():
    """9.1, 9.9 and 10.5 ms are billed as 10, 10 and 11 ms."""
    assert 10.33 == summarize([make_run()], None)["billed_ms"]


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_cheapest_size_meets_its_target(architecture):
    """The cheapest size for a target is fast enough, or None."""
    table = estimate_cost([make_run()])[architecture]
    times = {size["memory_mb"]: size["ms"] for size in table["by_memory"]}
    assert table["cheapest"] == {
        target: size for target, size in table["cheapest"].items() if size is None or times[size] <= float(target[:-3])
    }
    assert table["cheapest"]["20 ms"] is not None
