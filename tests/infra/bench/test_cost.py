"""Test the cost of Lambda with examples from the price list."""

import pytest

from infra.bench import cost


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
