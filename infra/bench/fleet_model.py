"""Discrete-event simulation (SimPy) of Lambda's environments for one function: warm and cold starts, throttling.

An environment serves one request at a time. Scaling: https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html,
requests a second: https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html#concurrency-vs-requests-per-second.
"""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import simpy

from infra.bench.cost import Floats


class Taken(IntEnum):
    """How a request is served."""

    THROTTLED = 0
    WARM = 1
    COLD = 2
    PROVISIONED = 3


@dataclass(frozen=True)
class Load:
    """Requests and their durations, (n,) arrays in seconds, drawn in advance: every fleet gets the same."""

    arrivals: Floats  # ascending
    warm: Floats  # duration on an environment that has served a request
    cold: Floats  # duration on a new environment: startup and first request


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


@dataclass(frozen=True)
class Outcome:
    """Result for each request, (n,) arrays."""

    taken: npt.NDArray[np.int8]  # values of Taken
    latency: Floats  # s from arrival to answer; NaN if throttled
    duration: Floats  # s that the environment is busy with the request; 0 if throttled
    busy: npt.NDArray[np.int64]  # busy environments at its arrival
    environments: npt.NDArray[np.int64]  # existing environments after its arrival


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


class Fleet:
    """One run of the simulation. Each request has two SimPy events, so a million take seconds."""

    def __init__(self, load: Load, rules: Rules) -> None:
        self.rules, self.clock = rules, simpy.Environment()
        self.arrivals, self.warm, self.cold = load.arrivals.tolist(), load.warm.tolist(), load.cold.tolist()
        per_environment = rules.requests_per_environment
        self.starts = Bucket(rules.environments, rules.environments_per_s)
        self.rate = RequestRate(rules.environments * per_environment, rules.environments_per_s * per_environment)
        self.ready_rate = Bucket(rules.provisioned * per_environment, rules.provisioned * per_environment)
        self.ready = rules.provisioned  # idle environments of provisioned concurrency
        self.idle = deque(
            [0.0] * rules.warm
        )  # start of the idle time of each other environment; the most recently used is last
        self.waiting: deque[int] = deque()
        self.busy, self.on_demand = 0, rules.warm
        self.rows: list[tuple[int, int]] = []
        self.taken = [Taken.THROTTLED] * len(self.arrivals)
        self.latency, self.duration = [np.nan] * len(self.arrivals), [0.0] * len(self.arrivals)

    def run(self) -> Outcome:
        self.clock.process(self._arrive())
        self.clock.run()
        busy, environments = np.array(self.rows, dtype=np.int64).reshape(-1, 2).T
        taken = np.array(self.taken, dtype=np.int8)
        return Outcome(taken, np.array(self.latency), np.array(self.duration), busy, environments)

    def _arrive(self) -> Generator[simpy.Event, None, None]:
        for request, arrival in enumerate(self.arrivals):
            yield self.clock.timeout(max(0.0, arrival - self.clock.now))
            self._expire()
            found_busy = self.busy
            self._take(request)
            self.rows.append((found_busy, self.on_demand + self.rules.provisioned))

    def _expire(self) -> None:
        """End environments whose idle time is over. Only arrivals look at them, so no event is needed."""
        while self.idle and self.idle[0] <= self.clock.now - self.rules.idle_s:
            self.idle.popleft()
            self.on_demand -= 1

    def _take(self, request: int) -> None:
        now = self.clock.now
        if self.ready and self.ready_rate.take(now):
            self.ready -= 1
            self._run(request, Taken.PROVISIONED, self.warm[request])
        elif self.rules.waits and (self.waiting or (self.on_demand and not self.idle)):
            self.waiting.append(request)
        elif not (self.rules.waits or self.rate.take(now)):
            pass  # 429
        elif self.idle:
            self.idle.pop()  # assumption: the most recently used environment serves it, so that the others end
            self._run(request, Taken.WARM, self.warm[request])
        elif self.starts.take(now):
            self.on_demand += 1
            self._run(request, Taken.COLD, self.cold[request])

    def _run(self, request: int, taken: Taken, seconds: float) -> None:
        self.busy += 1
        self.taken[request], self.duration[request] = taken, seconds
        self.latency[request] = self.clock.now + seconds - self.arrivals[request]
        end = self.clock.timeout(seconds, value=taken)
        end.callbacks.append(self._end)

    def _end(self, event: simpy.Event) -> None:
        self.busy -= 1
        if event.value == Taken.PROVISIONED:
            self.ready += 1
        elif self.waiting:
            request = self.waiting.popleft()
            self._run(request, Taken.WARM, self.warm[request])
        else:
            self.idle.append(self.clock.now)


def simulate(load: Load, rules: Rules) -> Outcome:
    """Return what happens to each request of `load` under `rules`."""
    return Fleet(load, rules).run()
