"""Traffic of the simulated fleet: arrivals and durations of requests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from infra.bench.cost import Floats
from infra.bench.fleet_model import Load
from infra.bench.fleet_times import Times

BURST, BURST_S = 5, 10  # multiple of the rate, and seconds


class Piece(NamedTuple):
    """A period of traffic with one rate; the figures include only requests of periods with `counted`."""

    rate: float
    seconds: float
    counted: bool


def steady(rate: float, idle_s: float) -> list[Piece]:
    """Return steady traffic of about 300,000 requests, for at least a minute and at most a day."""
    return [_settling(rate, idle_s), Piece(rate, min(max(300_000 / rate, 60), 86_400), counted=True)]


def burst(rate: float, idle_s: float) -> list[Piece]:
    """Return bursts on a fleet in steady state, repeated until they have 2,000 requests, with `idle_s` to recover."""
    times = math.ceil(2_000 / (BURST * BURST_S * rate))
    between = Piece(rate, 2 * idle_s, counted=False) if times > 1 else _settling(rate, idle_s)
    return [between, Piece(BURST * rate, BURST_S, counted=True)] * times


def _settling(rate: float, idle_s: float) -> Piece:
    """Return the traffic before counting begins: `idle_s` seconds, at most 100,000 requests. See also `settled`."""
    return Piece(rate, max(min(idle_s, 100_000 / rate), 10), counted=False)


@dataclass(frozen=True)
class Drawn:
    """Random draws for the requests, (n,) arrays."""

    arrivals: Floats  # s
    counted: npt.NDArray[np.bool_]
    warm_z: Floats  # standard normal
    cold_z: Floats


def draw(pieces: Sequence[Piece], seed: int) -> Drawn:
    """Draw Poisson arrivals: a random number per piece, uniformly distributed within it."""
    rng = np.random.default_rng(seed)
    starts = np.cumsum([0.0, *(piece.seconds for piece in pieces)])
    counts = [rng.poisson(piece.rate * piece.seconds) for piece in pieces]
    drawn = [
        start + piece.seconds * np.sort(rng.random(count))
        for piece, start, count in zip(pieces, starts[:-1], counts, strict=True)
    ]
    counted = np.repeat([piece.counted for piece in pieces], counts)
    total = sum(counts)
    return Drawn(np.concatenate(drawn), counted, rng.standard_normal(total), rng.standard_normal(total))


def load(drawn: Drawn, times: Times, start_ms: float) -> Load:
    """Return the requests with durations. `start_ms` is the startup of an environment: its init or its restore."""
    warm = times.warm_p50 * np.exp(times.warm_sigma * drawn.warm_z)
    cold = (start_ms + times.first) * np.exp(times.cold_sigma * drawn.cold_z)
    return Load(drawn.arrivals, warm / 1000, cold / 1000)
