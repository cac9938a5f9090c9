"""Simulate how Lambda serves the function: execution environments, cold starts, tail latency and cost.

The simulation applies Lambda's published rules to the times of artifacts/bench.json. The command writes
artifacts/fleet.json and prints the tables. It takes half a minute.

It leaves out throttling, because no traffic here reaches Lambda's limits on scaling: 1,000 new environments at once, or
10,000 new requests a second. https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html
"""

import heapq
import json
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import poisson

from infra import ROOT
from infra.bench import cost
from infra.bench.cost import WHOLE_VCPU_MB, Floats
from infra.bench.photos import FIRST
from infra.bench.tables import read_bench
from infra.markdown import table

FIGURES = ROOT / "artifacts/fleet.json"
CANDIDATE, SEED = "function", 0
STRATEGIES = ON_DEMAND, PROVISIONED, SNAPSTART = "on demand", "provisioned", "SnapStart"
WARM, COLD, READY = range(3)  # how a request starts; READY: on an environment of provisioned concurrency
# Published: https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html#concurrency-vs-requests-per-second
REQUESTS_PER_S = 10  # of each environment of provisioned concurrency
# Assumed, because not published: https://mikhail.io/2019/08/aws-lambda-cold-starts-after-10-minutes/
IDLE_S = 600
# Assumed, because not measurable outside AWS: published REPORT lines, most of them of Java, have 326 to 565 ms.
RESTORE_MS = 400
Z95, Z99 = 1.6449, 2.3263  # quantiles of the normal distribution
Ints = npt.NDArray[np.int64]
HEADINGS = "requests/s|strategy|environments|cold starts|p99|p99.9|USD per million|USD per hour"


class Traffic(NamedTuple):
    """Poisson traffic of `rate` requests/s; before it, the fleet serves `before` requests/s, which are not counted."""

    before: float
    rate: float
    seconds: float


TRAFFIC = {
    "1": Traffic(1, 1, 86_400),
    "100": Traffic(100, 100, 3_000),
    "500 after 100": Traffic(100, 500, 10),
}


@dataclass(frozen=True)
class Times:
    """Measured times in milliseconds. Warm times are lognormal through p50 and p99, cold starts through p50 and p95."""

    init: float
    first: float
    warm: float
    warm_sigma: float
    cold_sigma: float

    @property
    def warm_mean(self) -> float:
        return self.warm * math.exp(self.warm_sigma**2 / 2)


class Requests(NamedTuple):
    """Requests, (n,) arrays in seconds."""

    arrivals: Floats  # ascending
    warm: Floats  # duration on an environment that has served a request
    cold: Floats  # duration on a new environment: startup and first request


def read_times(figures: Mapping[str, Any]) -> Times:
    """Return the times of `CANDIDATE` with the first photo. Raise `KeyError` if the benchmark's figures lack one."""
    function = figures["candidates"][CANDIDATE]
    cold, warm = function["cold_ms"], function["warm_ms"][FIRST]
    warm_sigma, cold_sigma = math.log(warm["p99"] / warm["p50"]) / Z99, math.log(cold["p95"] / cold["p50"]) / Z95
    return Times(function["init_ms"]["p50"], function["first_ms"]["p50"], warm["p50"], warm_sigma, cold_sigma)


def draw(traffic: Traffic, times: Times, startup_ms: float) -> Requests:
    """Draw the same arrivals and warm times for any `startup_ms`, which is an environment's init or its restore."""
    rng = np.random.default_rng(SEED)
    counts = rng.poisson(traffic.before * IDLE_S), rng.poisson(traffic.rate * traffic.seconds)
    before, counted = (np.sort(rng.random(count)) for count in counts)
    arrivals = np.concatenate([IDLE_S * before, IDLE_S + traffic.seconds * counted])
    warm = times.warm * np.exp(times.warm_sigma * rng.standard_normal(sum(counts)))
    cold = (startup_ms + times.first) * np.exp(times.cold_sigma * rng.standard_normal(sum(counts)))
    return Requests(arrivals, warm / 1000, cold / 1000)


def simulate(requests: Requests, *, warm: int = 0, provisioned: int = 0) -> tuple[Ints, Floats, Ints]:
    """Simulate environments that serve one request at a time, `warm` and `provisioned` ones at the beginning.

    Return how each request starts, its latency in seconds, and how many environments exist then; (n,) arrays.
    """
    ready = provisioned  # idle environments of provisioned concurrency
    tokens = limit = provisioned * REQUESTS_PER_S  # requests that they may serve now, refilled continuously
    idle = deque([0.0] * warm)  # when each other one became idle; the most recently used is last
    running: list[tuple[float, int]] = []  # heap: the end of each request and how it started
    environments = warm + provisioned
    last = 0.0
    rows = []
    for now, warm_s, cold_s in zip(*(column.tolist() for column in requests), strict=True):
        while running and running[0][0] <= now:
            end, start = heapq.heappop(running)
            if start == READY:
                ready += 1
            else:
                idle.append(end)
        while idle and idle[0] <= now - IDLE_S:
            idle.popleft()
            environments -= 1
        tokens, last = min(limit, tokens + (now - last) * limit), now
        if ready and tokens >= 1:
            start = READY
            ready, tokens = ready - 1, tokens - 1
        elif idle:
            start = WARM
            idle.pop()  # assumption: the most recently used environment serves it, so that the others end
        else:
            start = COLD
            environments += 1
        end = now + (cold_s if start == COLD else warm_s)
        heapq.heappush(running, (end, start))
        rows.append((start, end, environments))
    starts, ends, counts = np.array(rows).T
    return starts.astype(np.int64), ends - requests.arrivals, counts.astype(np.int64)


def size_fleet(strategy: str, rate: float, times: Times) -> tuple[int, int]:
    """Return the numbers of warm and of provisioned environments after a long time with `rate` requests/s.

    The number of environments that are busy at once is Poisson-distributed (M/G/infinity). The fleet has as many as are
    busy at once about once per `IDLE_S`: Lambda ends those that are used more rarely. Provisioned concurrency has this
    size, or one environment per 10 requests/s plus AWS's buffer of 10 % if that is more:
    https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
    """
    warm = int(poisson.isf(1 / max(1.0, rate * IDLE_S), rate * times.warm_mean / 1000)) + 1
    if strategy == PROVISIONED:
        return 0, max(warm, math.ceil(1.1 * rate / REQUESTS_PER_S))
    return warm, 0


def summarize(name: str, traffic: Traffic, strategy: str, times: Times) -> dict[str, Any]:
    """Simulate one traffic with one strategy, and return the figures of its counted requests."""
    snapstart = strategy == SNAPSTART
    warm, provisioned = size_fleet(strategy, traffic.before, times)
    requests = draw(traffic, times, RESTORE_MS if snapstart else times.init)
    starts, latency, environments = simulate(requests, warm=warm, provisioned=provisioned)
    counted = requests.arrivals >= IDLE_S
    starts, latency = starts[counted], latency[counted]
    usd = compute_usd(starts, latency, traffic.seconds, provisioned=provisioned, snapstart=snapstart)
    p99_ms, p999_ms = np.quantile(1000 * latency, [0.99, 0.999]).tolist()
    return {
        "traffic": name,
        "strategy": strategy,
        "requests": len(starts),
        "environments": int(environments[counted].max()),
        "provisioned": provisioned,
        "cold": int((starts == COLD).sum()),
        "p99_ms": p99_ms,
        "p999_ms": p999_ms,
        "usd_per_million": 1e6 * usd / len(latency),
        "usd_per_hour": 3600 * usd / traffic.seconds,
    }


def compute_usd(
    starts: Ints, latency: Floats, seconds: float, *, provisioned: int = 0, snapstart: bool = False
) -> float:
    """Return the cost of these requests; init and restore are billed like the request that waits for them."""
    prices, gb = cost.PRICES["x86_64"], WHOLE_VCPU_MB / 1024
    billed_s = cost.billed_ms(1000 * latency) / 1000
    ready = starts == READY
    total = cost.USD_PER_REQUEST * len(latency)
    total += gb * float(billed_s[~ready].sum()) * prices.gb_second
    total += gb * float(billed_s[ready].sum()) * prices.provisioned_busy_gb_second
    total += gb * provisioned * seconds * prices.provisioned_gb_second
    if snapstart:
        restored = float((starts == COLD).sum())
        total += gb * (seconds * cost.SNAPSTART_GB_SECOND + restored * cost.SNAPSTART_RESTORED_GB)
    return total


def find_break_even(times: Times) -> dict[str, float]:
    """Return the points from which a strategy saves money or time, from prices, rules and measured times alone."""
    prices = cost.PRICES["x86_64"]
    share = prices.provisioned_gb_second / (prices.gb_second - prices.provisioned_busy_gb_second)
    return {
        "provisioned_busy_share": share,  # above this share, a provisioned environment is cheaper
        "provisioned_reachable_share": min(1.0, REQUESTS_PER_S * times.warm_mean / 1000),
        "provisioned_from_ms": 1000 * share / REQUESTS_PER_S,  # billed duration that reaches `share`
        "snapstart_from_init_ms": RESTORE_MS + 1000 * cost.SNAPSTART_RESTORED_GB / prices.gb_second,
        "snapstart_faster": times.init > RESTORE_MS,
        "p99_cold_below_rate": math.log(100) / IDLE_S,  # a share of exp(-rate * idle) of the gaps is longer than idle
    }


def render(result: Mapping[str, Any]) -> str:
    """Return the Markdown of infra/bench/RESULTS.md for the content of artifacts/fleet.json."""
    break_even = result["break_even"]
    busy, allowed = 100 * break_even["provisioned_busy_share"], 100 * break_even["provisioned_reachable_share"]
    from_ms, init_s = break_even["provisioned_from_ms"], break_even["snapstart_from_init_ms"] / 1000
    comparison = "shorter" if break_even["snapstart_faster"] else "no shorter"
    return f"""\
- Provisioned concurrency saves money if its environments are busy more than {busy:.0f} % of the time. An environment
  accepts at most {REQUESTS_PER_S} requests/s, so with this function it is busy at most {allowed:.0f} % of the time.
  Requests would have to take {from_ms:.0f} ms or more.
- A SnapStart restore is cheaper only than an init of {init_s:.1f} s or more.
- With the assumed {RESTORE_MS} ms, a restore is {comparison} than an init of this function.
- Below one request per {1 / break_even["p99_cold_below_rate"]:.0f} s, the p99 latency is that of a cold start.

{table(HEADINGS.split("|"), map(_row, result["traffic"]))}

Candidate `{CANDIDATE}`, photo {FIRST}, {WHOLE_VCPU_MB} MB, x86, us-east-1."""


def _row(row: Mapping[str, Any]) -> list[str]:
    return [
        row["traffic"],
        f"{row['provisioned']:,} {row['strategy']}" if row["provisioned"] else row["strategy"],
        f"{row['environments']:,}",
        f"{row['cold']:,} of {row['requests']:,}",
        f"{row['p99_ms']:.0f} ms",
        f"{row['p999_ms']:.0f} ms",
        f"{row['usd_per_million']:.2f}",
        f"{row['usd_per_hour']:.4f}",
    ]


def main() -> None:
    """Write and print the figures. Raise `SystemExit` if the file of the benchmark is missing or lacks a figure."""
    try:
        figures = read_bench()
        source, times = {key: figures[key] for key in ("hardware", "commit")}, read_times(figures)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"fleet: {error!r} in artifacts/bench.json; expected what `make bench` writes") from error
    rows = [summarize(*traffic, strategy, times) for traffic in TRAFFIC.items() for strategy in STRATEGIES]
    result = {**source, "seed": SEED, "traffic": rows, "break_even": find_break_even(times)}
    FIGURES.write_text(json.dumps(result, indent=2) + "\n")
    print(render(result))


if __name__ == "__main__":
    main()
