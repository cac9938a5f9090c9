"""Test the cost of Lambda: examples from the price list, and monotonicity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.bench import cost

MS = st.floats(0.01, 10_000)
MEMORY = st.sampled_from(cost.MEMORY_SIZES)
ARCHITECTURE = st.sampled_from(sorted(cost.PRICES))


def test_price_of_a_million_gb_seconds():
    """A million requests of 1 s with 1 GB cost as much as the price list states."""
    assert pytest.approx(16.6667 + 0.20) == cost.usd_per_million(1000, 1024)
    assert pytest.approx(13.3334 + 0.20) == cost.usd_per_million(1000, 1024, "arm64")


@pytest.mark.parametrize(("ms", "billed"), [(0.2, 1), (12.0, 12), (12.001, 13), (12.0000000001, 12)])
def test_billed_time_is_rounded_up(ms, billed):
    """Durations are rounded up to milliseconds, except for floating-point errors."""
    assert billed == cost.billed_ms(ms)


def test_duration_scales_with_the_cpu_share():
    """The CPU share grows with memory, up to the whole CPU that a single thread can use."""
    assert pytest.approx(20) == cost.at_memory(10, cost.WHOLE_VCPU_MB / 2)
    assert 10 == cost.at_memory(10, cost.WHOLE_VCPU_MB)
    assert 10 == cost.at_memory(10, 2 * cost.WHOLE_VCPU_MB)


@given(MS, MS, MEMORY, ARCHITECTURE)
def test_price_is_monotone_in_duration(first, second, memory_mb, architecture):
    """A longer request never costs less, for any memory size and architecture."""
    shorter, longer = (
        cost.usd_per_million(cost.billed_ms(ms), memory_mb, architecture) for ms in sorted([first, second])
    )
    assert shorter <= longer


@given(MS, MEMORY, MEMORY)
def test_more_memory_is_never_slower_or_cheaper(ms, first, second):
    """With more memory, a request never takes longer, and the same duration never costs less."""
    small, large = sorted([first, second])
    assert cost.at_memory(ms, small) >= cost.at_memory(ms, large) >= ms
    assert cost.usd_per_million(ms, small) <= cost.usd_per_million(ms, large)


@given(MS, MEMORY)
def test_arm64_costs_less_for_the_same_time(ms, memory_mb):
    """Without the price per request, arm64 costs a fifth less."""
    x86, arm64 = (cost.usd_per_million(ms, memory_mb, name) - 0.20 for name in ("x86_64", "arm64"))
    assert pytest.approx(0.8, abs=1e-3) == arm64 / x86


def test_memory_sizes_include_headroom():
    """A peak of 500 MB with 25 % headroom does not fit into 512 MB."""
    assert [768, 1024, 1536, 1769, 2048, 3008] == [size.memory_mb for size in cost.by_memory(10, rss_mb=500)]


def test_memory_size_has_duration_and_price():
    """512 MB get 29 % of a CPU: 10 ms become 35 ms, with the price of 35 ms."""
    size = cost.by_memory(10, rss_mb=100)[0]
    assert (512, 35) == (size.memory_mb, size.billed_ms)
    assert cost.usd_per_million(35, 512) == size.usd_per_million


def test_cheapest_size_meets_the_latency_target():
    """A tight target excludes small sizes; an impossible target excludes all sizes."""
    sizes = cost.by_memory(10.12, rss_mb=100)
    assert 512 == cost.cheapest(sizes, 1000).memory_mb  # 35 ms at 512 MB cost less than 11 ms at 1769 MB
    assert 1536 == cost.cheapest(sizes, 12).memory_mb
    assert cost.cheapest(sizes, 10) is None
