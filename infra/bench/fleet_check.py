"""Is the simulation right about one environment? The same arrivals, simulated and sent to Lambda's emulator.

The emulator has one environment, and requests wait for it. Each round starts it twice: once to measure a cold and some
warm requests, one after the other; then anew, to send it requests faster than it answers, the first of which waits for
the cold start and all others behind it. The simulation gets the measured times; the queue is its own. A queue that only
grows adds up its times, so that a disturbance counts once; one that comes and goes would magnify it.
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

ROUNDS = 5  # their median forgives rounds in which the machine was busy elsewhere
WARM_REQUESTS = 20
REQUESTS = 30
RATE = 2.0  # times what the environment can take

Start = Callable[[], contextlib.AbstractContextManager[Runtime]]

PHOTO = predict_request(SAMPLE)
HEADERS = {"content-type": dict(PHOTO.headers)["content-type"]}


@dataclass(frozen=True)
class Round:
    predicted_s: float  # p50 of the latency
    measured_s: float


def rounds(count: int = ROUNDS, start: Start = lambda_runtime) -> list[Round]:
    """Raises RuntimeNotFound without the emulator. `start` starts the function that is measured."""
    return [_round(start) for _ in range(count)]


def agreement(measured: Sequence[Round]) -> float:
    """Predicted over measured, the median of the rounds; 1 is perfect."""
    return statistics.median(one.predicted_s / one.measured_s for one in measured)


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
    """Seconds to the answer."""
    started = time.perf_counter()
    client.post(PHOTO.path, content=PHOTO.body, headers=HEADERS).raise_for_status()
    return time.perf_counter() - started


async def _send(url: str, arrivals: Floats) -> list[float]:
    """Each request at its time, whatever became of those before; seconds from that time to its answer."""
    limits = httpx2.Limits(max_connections=None)  # the function queues, not the client
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=limits) as client:
        started = time.perf_counter()

        async def ask(arrival: float) -> float:
            await asyncio.sleep(started + arrival - time.perf_counter())
            (await client.post(PHOTO.path, content=PHOTO.body, headers=HEADERS)).raise_for_status()
            return time.perf_counter() - started - arrival

        return await asyncio.gather(*map(ask, arrivals.tolist()))
