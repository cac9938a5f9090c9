"""Lambda's bill: examples by hand, and that more never costs less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.bench import cost

MS = st.floats(0.01, 10_000)
MEMORY = st.sampled_from(cost.MEMORY_SIZES)
ARCHITECTURE = st.sampled_from(sorted(cost.PRICES))


def test_a_million_requests_of_a_second_and_a_gigabyte():
    """A million GB-seconds and a million requests, by the price list."""
    assert pytest.approx(16.6667 + 0.20) == cost.usd_per_million(1000, 1024)
    assert pytest.approx(13.3334 + 0.20) == cost.usd_per_million(1000, 1024, "arm64")


@pytest.mark.parametrize(("ms", "billed"), [(0.2, 1), (12.0, 12), (12.001, 13), (12.0000000001, 12)])
def test_time_is_billed_in_whole_milliseconds(ms, billed):
    """Rounded up, except for what is only a rounding error of ours."""
    assert billed == cost.billed_ms(ms)


def test_half_a_cpu_takes_twice_as_long():
    """CPU comes with memory, up to the one CPU that one thread can use."""
    assert pytest.approx(20) == cost.at_memory(10, cost.WHOLE_VCPU_MB / 2)
    assert 10 == cost.at_memory(10, cost.WHOLE_VCPU_MB)
    assert 10 == cost.at_memory(10, 2 * cost.WHOLE_VCPU_MB)


@given(MS, MS, MEMORY, ARCHITECTURE)
def test_longer_requests_never_cost_less(one, other, memory_mb, architecture):
    """Cost is monotone in time, for any memory size and architecture."""
    shorter, longer = (cost.usd_per_million(cost.billed_ms(ms), memory_mb, architecture) for ms in sorted([one, other]))
    assert shorter <= longer


@given(MS, MEMORY, MEMORY)
def test_more_memory_is_never_slower(ms, one, other):
    """Nor does a request that takes as long cost less with it."""
    small, large = sorted([one, other])
    assert cost.at_memory(ms, small) >= cost.at_memory(ms, large) >= ms
    assert cost.usd_per_million(ms, small) <= cost.usd_per_million(ms, large)


@given(MS, MEMORY)
def test_arm64_costs_less_for_the_same_time(ms, memory_mb):
    """By a fifth, of what is not the price of the request."""
    x86, arm64 = (cost.usd_per_million(ms, memory_mb, name) - 0.20 for name in ("x86_64", "arm64"))
    assert pytest.approx(0.8, abs=1e-3) == arm64 / x86


def test_only_sizes_that_hold_the_memory_are_offered():
    """500 MB and a quarter do not fit into 512."""
    assert [768, 1024, 1536, 1769, 2048, 3008] == [size.memory_mb for size in cost.by_memory(10, rss_mb=500)]


def test_a_size_shows_its_time_and_its_bill():
    """512 MB have 29 % of a CPU: 10 ms become 35 and cost as much as 35 ms do."""
    size = cost.by_memory(10, rss_mb=100)[0]
    assert (512, 35) == (size.memory_mb, size.billed_ms)
    assert cost.usd_per_million(35, 512) == size.usd_per_million


def test_the_cheapest_size_is_the_cheapest_that_is_fast_enough():
    """Without a hurry rounding decides; with one, less memory is out; with too much of one, everything is."""
    sizes = cost.by_memory(10.12, rss_mb=100)
    assert 512 == cost.cheapest(sizes, 1000).memory_mb  # 35 ms of 512 MB are less than 11 of 1769
    assert 1536 == cost.cheapest(sizes, 12).memory_mb
    assert cost.cheapest(sizes, 10) is None
