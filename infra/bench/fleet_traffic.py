"""Who comes to the simulated fleet, when, and what each request takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from infra.bench.cost import Floats
from infra.bench.fleet_model import Load
from infra.bench.fleet_times import Times

BURST, BURST_S = 5, 10  # so many times the rate, for so long


class Piece(NamedTuple):
    """A stretch of traffic with one rate; only requests of a piece that is `counted` are in the answer."""

    rate: float
    seconds: float
    counted: bool


def steady(rate: float, idle_s: float) -> list[Piece]:
    """Long enough for 300,000 requests, between a minute and a day."""
    return [_settling(rate, idle_s), Piece(rate, min(max(300_000 / rate, 60), 86_400), counted=True)]


def burst(rate: float, idle_s: float) -> list[Piece]:
    """Bursts on a settled fleet, repeated until they hold 2,000 requests; after `idle_s` one forgets the last."""
    times = math.ceil(2_000 / (BURST * BURST_S * rate))
    between = Piece(rate, 2 * idle_s, counted=False) if times > 1 else _settling(rate, idle_s)
    return [between, Piece(BURST * rate, BURST_S, counted=True)] * times


def _settling(rate: float, idle_s: float) -> Piece:
    """Until idle environments may end, at most 100,000 requests; the fleet begins with its size, see `settled`."""
    return Piece(rate, max(min(idle_s, 100_000 / rate), 10), counted=False)


@dataclass(frozen=True)
class Drawn:
    """What chance decided: (n,) arrays."""

    arrivals: Floats  # s
    counted: npt.NDArray[np.bool_]
    warm_z: Floats  # standard normal
    cold_z: Floats


def draw(pieces: Sequence[Piece], seed: int) -> Drawn:
    """Poisson arrivals: as many as chance has it, anywhere within their piece."""
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
    """`start_ms` is what comes before the first request of an environment: its init, or its restore."""
    warm = times.warm_p50 * np.exp(times.warm_sigma * drawn.warm_z)
    cold = (start_ms + times.first) * np.exp(times.cold_sigma * drawn.cold_z)
    return Load(drawn.arrivals, warm / 1000, cold / 1000)
