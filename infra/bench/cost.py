"""What Lambda charges for the function, and what a memory size does to its time.

Prices in USD, us-east-1, first tier, without the free tier, as https://aws.amazon.com/lambda/pricing/ was quoted in
November 2026. GB are of 1,024 MB. Times are measured on one whole vCPU; arm64 is priced at the speed of x86.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prices:
    gb_second: float  # while a request, or since August 2025 any INIT phase, runs
    provisioned_gb_second: float  # while an environment of provisioned concurrency exists
    provisioned_busy_gb_second: float  # in place of `gb_second`, on top of the line above


PRICES = {
    "x86_64": Prices(0.0000166667, 0.0000041667, 0.0000097222),
    "arm64": Prices(0.0000133334, 0.0000033334, 0.0000077778),
}
USD_PER_REQUEST = 0.20e-6
# SnapStart, x86: the snapshot of a published version by GB of memory and second, and each environment made from it.
SNAPSTART_GB_SECOND = 0.0000015046
SNAPSTART_RESTORED_GB = 0.0001397998

# "At 1,769 MB, a function has the equivalent of one vCPU", and less in proportion. More helps only other threads:
# inference has one. https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
WHOLE_VCPU_MB = 1769
MEMORY_SIZES = (512, 768, 1024, 1536, 1769, 2048, 3008)
HEADROOM = 1.25  # over the peak RSS: the runtime's own processes are in the limit too, and a larger photo may come


@dataclass(frozen=True)
class MemorySize:
    memory_mb: int
    ms: float  # of one warm request
    billed_ms: int
    usd_per_million: float


def billed_ms(ms: npt.ArrayLike) -> Floats:
    """Each invocation is rounded up to the next millisecond."""
    return np.ceil(np.round(np.asarray(ms, dtype=np.float64), 6))


def at_memory(ms: float, memory_mb: int) -> float:
    """What takes `ms` on a whole vCPU takes longer on a part of one."""
    return ms / min(1.0, memory_mb / WHOLE_VCPU_MB)


def usd_per_million(billed: float, memory_mb: int, architecture: str = "x86_64") -> float:
    """A million requests of `billed` milliseconds each."""
    return 1e6 * (USD_PER_REQUEST + billed / 1000 * memory_mb / 1024 * PRICES[architecture].gb_second)


def by_memory(ms: float, rss_mb: float, architecture: str = "x86_64") -> list[MemorySize]:
    """The sizes that hold `rss_mb`. Up to a whole vCPU all cost much the same: half the memory takes twice as long."""
    times = {memory_mb: at_memory(ms, memory_mb) for memory_mb in MEMORY_SIZES if memory_mb >= HEADROOM * rss_mb}
    billed = {memory_mb: int(billed_ms(time)) for memory_mb, time in times.items()}
    return [
        MemorySize(memory_mb, time, billed[memory_mb], usd_per_million(billed[memory_mb], memory_mb, architecture))
        for memory_mb, time in times.items()
    ]


def cheapest(sizes: Sequence[MemorySize], latency_target_ms: float) -> MemorySize | None:
    """Of those that answer within the target; None if none does."""
    fast_enough = [size for size in sizes if size.ms <= latency_target_ms]
    return min(fast_enough, key=lambda size: (size.usd_per_million, size.ms), default=None)
