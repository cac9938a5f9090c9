"""Measured times for the simulated fleet, read from artifacts/bench.json."""

import json
import math
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

CANDIDATE, PHOTO = "ours", "500x375"
Z95, Z99 = 1.6449, 2.3263  # quantiles of the normal distribution


class BenchError(ValueError):
    """The file of the benchmark is missing or lacks a figure; the message names the file and the expected value."""


@dataclass(frozen=True)
class Times:
    """Measured times in milliseconds."""

    init: float
    first: float
    warm_p50: float
    warm_p95: float
    warm_p99: float
    cold_spread: float  # p95/p50 of whole cold starts

    @property
    def warm_sigma(self) -> float:
        """Return the sigma of a lognormal distribution through p50 and p99.

        The distribution keeps both reported figures, extends beyond p99 and is never negative. Interpolated quantiles
        would need an invented minimum and maximum. `fitted_p95` shows how well the fit matches p95.
        """
        return math.log(self.warm_p99 / self.warm_p50) / Z99

    @property
    def warm_mean(self) -> float:
        return self.warm_p50 * math.exp(self.warm_sigma**2 / 2)

    @property
    def fitted_p95(self) -> float:
        return self.warm_p50 * math.exp(Z95 * self.warm_sigma)

    @property
    def cold_sigma(self) -> float:
        return math.log(self.cold_spread) / Z95


def read(path: Path) -> Times:
    """Return the times of `CANDIDATE` with `PHOTO`. Raise `BenchError` if the file is missing or lacks a figure."""
    try:
        bench = json.loads(path.read_text())
    except OSError as error:
        raise BenchError(f"{path}: {error.strerror}; expected what `make bench` writes") from None
    except ValueError as error:
        raise BenchError(f"{path}: expected JSON; {error}") from None
    init, first = (_ms(path, bench, name, "p50") for name in ("init_ms", "first_ms"))
    p50, p95, p99 = (_ms(path, bench, "warm_ms", PHOTO, quantile) for quantile in ("p50", "p95", "p99"))
    cold_p50, cold_p95 = (_ms(path, bench, "cold_ms", quantile) for quantile in ("p50", "p95"))
    if not (p50 <= p95 <= p99 and cold_p50 <= cold_p95):
        raise BenchError(f"{path}: {CANDIDATE} on {PHOTO}, warm or cold: expected p50 <= p95 <= p99")
    return Times(init, first, p50, p95, p99, cold_p95 / cold_p50)


def _ms(path: Path, bench: Any, *keys: str) -> float:
    path_in_file = ("candidates", CANDIDATE, *keys)
    value = reduce(lambda found, key: found.get(key) if isinstance(found, dict) else None, path_in_file, bench)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise BenchError(f"{path}: {'.'.join(path_in_file)} is {value!r}, expected milliseconds above 0")
    return float(value)
