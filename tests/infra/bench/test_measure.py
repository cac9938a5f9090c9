"""What is made of the lives of a candidate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.bench.measure import Life, cost, quantiles, summary

TIMES = st.lists(st.floats(0.1, 1e4), min_size=1, max_size=200)


def a_life(cold_ms: float = 500, init_ms: float = 450, rss_mb: float = 140) -> Life:
    warm = {"500x375": [10.0, 12.0, 11.0], "12mp": [50.0]}
    return Life(cold_ms, init_ms, rss_mb, billed_ms=[9.1, 9.9, 10.5], warm_ms=warm, health_ms=[2.0])


@given(TIMES, st.integers(1, 100))
def test_a_quantile_lies_between_the_fastest_and_the_slowest(times, percent):
    """Whatever was measured."""
    assert round(min(times), 2) <= quantiles(times, percent)[f"p{percent}"] <= round(max(times), 2)


@given(TIMES)
def test_quantiles_rise(times):
    """p50 ≤ p95 ≤ p99."""
    found = list(quantiles(times, 50, 95, 99).values())
    assert sorted(found) == found


def test_the_median_of_two_is_their_mean():
    """As for every other median of the benchmark."""
    assert {"p50": 15.0} == quantiles([10, 20], 50)


def test_the_summary_has_the_fields_of_the_contract():
    """As the schema of artifacts/bench.json has them."""
    figures = summary([a_life(), a_life(cold_ms=700)], image_mb=200.0)
    fields = {"cold_ms", "init_ms", "first_ms", "warm_ms", "health_ms", "rss_mb", "image_mb", "billed_ms"}
    assert fields | {"usd_per_million"} == set(figures)
    assert {"p50": 600, "p95": 690, "n": 2} == figures["cold_ms"]
    assert {"p50": 11.0, "p95": 12.0, "p99": 12.0} == figures["warm_ms"]["500x375"]


def test_the_peak_is_that_of_the_hungriest_life():
    """A limit has to hold in every life, so no median."""
    assert 152.0 == summary([a_life(rss_mb=140), a_life(rss_mb=152)], None)["rss_mb"]


def test_init_and_first_request_add_up_to_the_cold_start():
    """One life: 450 ms until the handler is loaded, 50 ms for the request."""
    figures = summary([a_life()], None)
    assert (450, 50) == (figures["init_ms"]["p50"], figures["first_ms"]["p50"])


def test_every_invocation_is_billed_in_whole_milliseconds():
    """9.1, 9.9 and 10.5 are billed as 10, 10 and 11, and a bill adds up."""
    assert 10.33 == summary([a_life()], None)["billed_ms"]


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_the_cheapest_size_answers_within_its_target(architecture):
    """And where none does, none is named."""
    table = cost([a_life()])[architecture]
    times = {size["memory_mb"]: size["ms"] for size in table["by_memory"]}
    assert table["cheapest"] == {
        target: size for target, size in table["cheapest"].items() if size is None or times[size] <= float(target[:-3])
    }
    assert table["cheapest"]["20 ms"] is not None
