"""Validate the simulation of one environment: the same arrivals, simulated and sent to Lambda's emulator.

The emulator has one environment, and requests wait for it. Each round starts it twice. The first start measures a cold
request and some warm ones, one after the other. The second start receives requests faster than it answers: the first
one waits for the cold start, the others wait behind it. The simulation uses the measured times and computes the
queue. In a queue that only grows, times add up and a disturbance counts once; a queue that empties would amplify it.
"""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import httpx2
import numpy as np

from infra.bench.cost import Floats
from infra.bench.fleet_model import EMULATOR, Load, simulate
from infra.emulator.demo import SAMPLE
from infra.emulator.event import predict_request
from infra.emulator.runtime import Runtime, lambda_runtime
from infra.emulator.serve import background, local_app

ROUNDS = 5  # the median tolerates rounds with other load on the machine
WARM_REQUESTS = 20
REQUESTS = 30
RATE = 2.0  # multiple of the rate that the environment can serve

Start = Callable[[], contextlib.AbstractContextManager[Runtime]]

PHOTO = predict_request(SAMPLE)
HEADERS = {"content-type": dict(PHOTO.headers)["content-type"]}


@dataclass(frozen=True)
class Round:
    predicted_s: float  # p50 of the latency
    measured_s: float


def rounds(count: int = ROUNDS, start: Start = lambda_runtime) -> list[Round]:
    """Measure and simulate `count` rounds. Raise `RuntimeNotFound` if the emulator is missing."""
    return [_round(start) for _ in range(count)]


def agreement(measured: Sequence[Round]) -> float:
    """Return the ratio of predicted to measured latency, the median of the rounds; 1 is perfect."""
    return statistics.median(item.predicted_s / item.measured_s for item in measured)


def _round(start: Start) -> Round:
    with _function(start) as url, httpx2.Client(base_url=url, trust_env=False, timeout=60) as client:
        cold, *warm = [_ask(client) for _ in range(1 + WARM_REQUESTS)]
    arrivals = np.arange(REQUESTS, dtype=np.float64) * (statistics.median(warm) / RATE)
    load = Load(arrivals, np.resize(warm, REQUESTS), np.full(REQUESTS, cold))
    with _function(start) as url:
        measured = asyncio.run(_send(url, arrivals))
    return Round(float(np.median(simulate(load, EMULATOR).latency)), statistics.median(measured))


@contextlib.contextmanager
def _function(start: Start) -> Iterator[str]:
    with start() as runtime, background(local_app(runtime.endpoint)) as url:
        yield url


def _ask(client: httpx2.Client) -> float:
    """Send one request; return the seconds until its answer."""
    started = time.perf_counter()
    client.post(PHOTO.path, content=PHOTO.body, headers=HEADERS).raise_for_status()
    return time.perf_counter() - started


async def _send(url: str, arrivals: Floats) -> list[float]:
    """Send each request at its time, regardless of earlier ones; return the seconds from that time to its answer."""
    limits = httpx2.Limits(max_connections=None)  # the function queues, not the client
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=limits) as client:
        started = time.perf_counter()

        async def ask(arrival: float) -> float:
            await asyncio.sleep(started + arrival - time.perf_counter())
            (await client.post(PHOTO.path, content=PHOTO.body, headers=HEADERS)).raise_for_status()
            return time.perf_counter() - started - arrival

        return await asyncio.gather(*map(ask, arrivals.tolist()))
