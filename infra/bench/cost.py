"""Estimate what Lambda charges for the function, by duration and memory size.

Prices are in USD for us-east-1, first tier, without the free tier, from https://aws.amazon.com/lambda/pricing/ in
November 2026. A GB has 1,024 MB. Durations are measured on one whole vCPU; arm64 is priced at the speed of x86.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prices:
    """Prices in USD per GB and second."""

    gb_second: float  # during requests and, since August 2025, during every INIT phase
    provisioned_gb_second: float  # for the lifetime of an environment with provisioned concurrency
    provisioned_busy_gb_second: float  # during requests; replaces `gb_second` and adds to the line above


PRICES = {
    "x86_64": Prices(0.0000166667, 0.0000041667, 0.0000097222),
    "arm64": Prices(0.0000133334, 0.0000033334, 0.0000077778),
}
USD_PER_REQUEST = 0.20e-6
# SnapStart on x86: caching the snapshot of a published version, and restoring an environment from it.
SNAPSTART_GB_SECOND = 0.0000015046
SNAPSTART_RESTORED_GB = 0.0001397998

# "At 1,769 MB, a function has the equivalent of one vCPU", and proportionally less below. More memory helps only
# additional threads, and inference has one. https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
WHOLE_VCPU_MB = 1769
MEMORY_SIZES = (512, 768, 1024, 1536, 1769, 2048, 3008)
HEADROOM = 1.25  # over peak RSS, for the processes of the runtime and for larger photos


@dataclass(frozen=True)
class MemorySize:
    """Duration and cost of a warm request with a memory size."""

    memory_mb: int
    ms: float
    billed_ms: int
    usd_per_million: float


def billed_ms(ms: npt.ArrayLike) -> Floats:
    """Round each duration up to the next millisecond, as Lambda does."""
    return np.ceil(np.round(np.asarray(ms, dtype=np.float64), 6))


def at_memory(ms: float, memory_mb: int) -> float:
    """Return the duration with a memory size of what takes `ms` on a whole vCPU."""
    return ms / min(1.0, memory_mb / WHOLE_VCPU_MB)


def usd_per_million(billed: float, memory_mb: int, architecture: str = "x86_64") -> float:
    """Return the price of a million requests of `billed` milliseconds each."""
    return 1e6 * (USD_PER_REQUEST + billed / 1000 * memory_mb / 1024 * PRICES[architecture].gb_second)


def by_memory(ms: float, rss_mb: float, architecture: str = "x86_64") -> list[MemorySize]:
    """Return the memory sizes that hold `rss_mb`, with durations and prices.

    Up to a whole vCPU all cost about the same, because half the memory takes twice as long.
    """
    times = {memory_mb: at_memory(ms, memory_mb) for memory_mb in MEMORY_SIZES if memory_mb >= HEADROOM * rss_mb}
    billed = {memory_mb: int(billed_ms(time)) for memory_mb, time in times.items()}
    return [
        MemorySize(memory_mb, time, billed[memory_mb], usd_per_million(billed[memory_mb], memory_mb, architecture))
        for memory_mb, time in times.items()
    ]


def cheapest(sizes: Sequence[MemorySize], latency_target_ms: float) -> MemorySize | None:
    """Return the cheapest size whose duration is within the target, or None."""
    fast_enough = [size for size in sizes if size.ms <= latency_target_ms]
    return min(fast_enough, key=lambda size: (size.usd_per_million, size.ms), default=None)
