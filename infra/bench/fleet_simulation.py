"""Simulate Lambda's environments for one function: traffic, warm and cold starts, throttling, cost.

An environment serves one request at a time. Scaling: https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html,
requests a second: https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html#concurrency-vs-requests-per-second.
"""

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import poisson

from infra.bench import cost
from infra.bench.cost import Floats

MEMORY_MB = 1769  # as in template.yaml: a whole vCPU, which is what the times were measured on
ON_DEMAND, PROVISIONED, SNAPSTART = "on demand", "provisioned", "SnapStart"
BURST, BURST_S = 5, 10  # multiple of the rate, and seconds
Z95, Z99 = 1.6449, 2.3263  # quantiles of the normal distribution


@dataclass(frozen=True)
class Times:
    """Measured times in milliseconds. Warm times are lognormal through p50 and p99, which keeps both figures."""

    init: float
    first: float
    warm_p50: float
    warm_p95: float
    warm_p99: float
    cold_spread: float  # p95/p50 of whole cold starts

    @property
    def warm_sigma(self) -> float:
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


class Period(NamedTuple):
    """A period of traffic with one rate; the figures include only requests of periods with `counted`."""

    rate: float
    seconds: float
    counted: bool


def make_steady(rate: float, idle_s: float) -> list[Period]:
    """Return steady traffic of about 300,000 requests, for at least a minute and at most a day."""
    return [_settling(rate, idle_s), Period(rate, min(max(300_000 / rate, 60), 86_400), counted=True)]


def make_burst(rate: float, idle_s: float) -> list[Period]:
    """Return bursts on a fleet in steady state, repeated until they have 2,000 requests, with `idle_s` to recover."""
    times = math.ceil(2_000 / (BURST * BURST_S * rate))
    between = Period(rate, 2 * idle_s, counted=False) if times > 1 else _settling(rate, idle_s)
    return [between, Period(BURST * rate, BURST_S, counted=True)] * times


def _settling(rate: float, idle_s: float) -> Period:
    """Return the uncounted traffic at the start: `idle_s` seconds, at most 100,000 requests (see `count_settled`)."""
    return Period(rate, max(min(idle_s, 100_000 / rate), 10), counted=False)


@dataclass(frozen=True)
class Draws:
    """Random draws for the requests, (n,) arrays."""

    arrivals: Floats  # s
    counted: npt.NDArray[np.bool_]
    warm_z: Floats  # standard normal
    cold_z: Floats


def draw(periods: Sequence[Period], seed: int) -> Draws:
    """Draw Poisson arrivals: a random number per period, uniformly distributed within it."""
    rng = np.random.default_rng(seed)
    starts = np.cumsum([0.0, *(period.seconds for period in periods)])
    counts = [rng.poisson(period.rate * period.seconds) for period in periods]
    draws = [
        start + period.seconds * np.sort(rng.random(count))
        for period, start, count in zip(periods, starts[:-1], counts, strict=True)
    ]
    counted = np.repeat([period.counted for period in periods], counts)
    total = sum(counts)
    return Draws(np.concatenate(draws), counted, rng.standard_normal(total), rng.standard_normal(total))


@dataclass(frozen=True)
class Load:
    """Requests and their durations, (n,) arrays in seconds, draws in advance: every fleet gets the same."""

    arrivals: Floats  # ascending
    warm: Floats  # duration on an environment that has served a request
    cold: Floats  # duration on a new environment: startup and first request


def time_requests(draws: Draws, times: Times, start_ms: float) -> Load:
    """Return the requests with durations. `start_ms` is the startup of an environment: its init or its restore."""
    warm = times.warm_p50 * np.exp(times.warm_sigma * draws.warm_z)
    cold = (start_ms + times.first) * np.exp(times.cold_sigma * draws.cold_z)
    return Load(draws.arrivals, warm / 1000, cold / 1000)


@dataclass(frozen=True)
class Rules:
    """Scaling rules of a fleet; the defaults are published by AWS unless marked."""

    environments: float = 1000  # new environments at once, ...
    environments_per_s: float = 100  # ... refilled "continuously over time", never beyond the number above
    requests_per_environment: float = 10  # a second: the same limits, counted in requests, "whichever happens first"
    idle_s: float = 600  # an idle environment ends after this time. Not published; https://mikhail.io/2019/08/aws-lambda-cold-starts-after-10-minutes/
    warm: int = 0  # idle environments when the simulation begins
    provisioned: int = 0  # environments of provisioned concurrency, ready from the start
    waits: bool = False  # a request without an environment waits instead of getting 429


# One environment, behind the lock of infra.emulator.invoke.Function.
EMULATOR = Rules(environments=1, environments_per_s=0, idle_s=np.inf, waits=True)


class Bucket:
    """Token bucket: `size` tokens, refilled at `per_s` tokens per second."""

    def __init__(self, size: float, per_s: float) -> None:
        self.size, self.per_s = size, per_s
        self.left, self.at = size, 0.0

    def take(self, now: float) -> bool:
        self.left = min(self.size, self.left + (now - self.at) * self.per_s)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class RequestRate:
    """Limit on requests per second: at most `size` more than in the last second, and a limit that grows by `per_s`.

    Counting in whole seconds is an assumption: how Lambda counts is not published.
    """

    def __init__(self, size: float, per_s: float) -> None:
        self.size, self.per_s = size, per_s
        self.limit, self.second, self.taken = size, 0, 0

    def take(self, now: float) -> bool:
        while self.second < int(now):
            self.limit = min(self.limit + self.per_s, self.taken + self.size)
            self.second, self.taken = self.second + 1, 0
        if self.taken + 1 > self.limit:
            return False
        self.taken += 1
        return True


class StartType(IntEnum):
    """How a request starts."""

    THROTTLED = 0
    WARM = 1
    COLD = 2
    PROVISIONED = 3


@dataclass(frozen=True)
class Outcome:
    """Result for each request, (n,) arrays."""

    start_types: npt.NDArray[np.int8]  # values of StartType
    latency: Floats  # s from arrival to answer; NaN if throttled
    duration: Floats  # s that the environment is busy with the request; 0 if throttled
    busy: npt.NDArray[np.int64]  # busy environments at its arrival
    environments: npt.NDArray[np.int64]  # existing environments after its arrival


class Fleet:
    """One run of the simulation. `running` is a heap of the ends of requests; a million requests take seconds."""

    def __init__(self, load: Load, rules: Rules) -> None:
        self.rules = rules
        self.arrivals, self.warm, self.cold = load.arrivals.tolist(), load.warm.tolist(), load.cold.tolist()
        per_environment = rules.requests_per_environment
        self.starts = Bucket(rules.environments, rules.environments_per_s)
        self.rate = RequestRate(rules.environments * per_environment, rules.environments_per_s * per_environment)
        self.ready_rate = Bucket(rules.provisioned * per_environment, rules.provisioned * per_environment)
        self.ready = rules.provisioned  # idle environments of provisioned concurrency
        self.idle = deque([0.0] * rules.warm)  # when each other one became idle; the most recently used is last
        self.waiting: deque[int] = deque()
        self.running: list[tuple[float, StartType]] = []
        self.on_demand = rules.warm
        self.start_types = [StartType.THROTTLED] * len(self.arrivals)
        self.latency, self.duration = [np.nan] * len(self.arrivals), [0.0] * len(self.arrivals)

    def run(self) -> Outcome:
        rows = []
        for request, now in enumerate(self.arrivals):
            self._end_requests(until=now)
            self._end_environments(now)
            found_busy = len(self.running)
            self._take(request, now)
            rows.append((found_busy, self.on_demand + self.rules.provisioned))
        self._end_requests(until=math.inf)
        busy, environments = np.array(rows, dtype=np.int64).reshape(-1, 2).T
        start_types = np.array(self.start_types, dtype=np.int8)
        return Outcome(start_types, np.array(self.latency), np.array(self.duration), busy, environments)

    def _end_requests(self, until: float) -> None:
        while self.running and self.running[0][0] <= until:
            now, start_type = heapq.heappop(self.running)
            if start_type == StartType.PROVISIONED:
                self.ready += 1
            elif self.waiting:
                request = self.waiting.popleft()
                self._run(request, now, StartType.WARM, self.warm[request])
            else:
                self.idle.append(now)

    def _end_environments(self, now: float) -> None:
        while self.idle and self.idle[0] <= now - self.rules.idle_s:
            self.idle.popleft()
            self.on_demand -= 1

    def _take(self, request: int, now: float) -> None:
        if self.ready and self.ready_rate.take(now):
            self.ready -= 1
            self._run(request, now, StartType.PROVISIONED, self.warm[request])
        elif self.rules.waits and (self.waiting or (self.on_demand and not self.idle)):
            self.waiting.append(request)
        elif not (self.rules.waits or self.rate.take(now)):
            pass  # 429
        elif self.idle:
            self.idle.pop()  # assumption: the most recently used environment serves it, so that the others end
            self._run(request, now, StartType.WARM, self.warm[request])
        elif self.starts.take(now):
            self.on_demand += 1
            self._run(request, now, StartType.COLD, self.cold[request])

    def _run(self, request: int, now: float, start_type: StartType, seconds: float) -> None:
        self.start_types[request], self.duration[request] = start_type, seconds
        self.latency[request] = now + seconds - self.arrivals[request]
        heapq.heappush(self.running, (now + seconds, start_type))


def simulate(load: Load, rules: Rules) -> Outcome:
    """Return what happens to each request of `load` under `rules`."""
    return Fleet(load, rules).run()


def count_settled(rate: float, times: Times, idle_s: float) -> int:
    """Return the number of environments in steady state: so many are busy at once about every `idle_s` seconds.

    The number of busy environments is Poisson-distributed (M/G/infinity). Without any at the beginning, 10,000
    requests/s would start a thousand during one init, and keep them for the whole simulation.
    """
    return int(poisson.isf(1 / max(1.0, rate * idle_s), rate * times.warm_mean / 1000)) + 1


def compute_usd(
    outcome: Outcome, counted: npt.NDArray[np.bool_], seconds: float, strategy: str, provisioned: int
) -> float:
    """Return the cost of these requests; init and restore are billed like the request that waits for them."""
    prices, gb = cost.PRICES["x86_64"], MEMORY_MB / 1024
    start_types = outcome.start_types[counted]
    billed_s = cost.billed_ms(1000 * outcome.duration[counted]) / 1000
    ready = start_types == StartType.PROVISIONED
    total = cost.USD_PER_REQUEST * float(np.count_nonzero(start_types))
    total += gb * float(billed_s[~ready].sum()) * prices.gb_second
    total += gb * float(billed_s[ready].sum()) * prices.provisioned_busy_gb_second
    total += gb * provisioned * seconds * prices.provisioned_gb_second
    if strategy == SNAPSTART:
        restored = np.count_nonzero(start_types == StartType.COLD)
        total += gb * (seconds * cost.SNAPSTART_GB_SECOND + restored * cost.SNAPSTART_RESTORED_GB)
    return float(total)
