"""Simulate how Lambda serves the function at 1, 100 and 10,000 requests/s: environments, cold starts, p99 and cost.

The simulation applies Lambda's published scaling rules to the times of artifacts/bench.json. The command also sends the
traffic of one environment to Lambda's emulator, writes artifacts/fleet.json and prints a table. It takes a minute.

The emulator has one environment, and requests wait for it. Each round starts it twice. The first start measures a cold
request and some warm ones, one after the other. The second start receives requests faster than it answers: the first
one waits for the cold start, the others wait behind it. The simulation uses the measured times and computes the
queue. In a queue that only grows, times add up and a disturbance counts once; a queue that empties would amplify it.
"""

import asyncio
import contextlib
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import httpx2
import numpy as np

from infra.bench import cost
from infra.bench import fleet_simulation as simulation
from infra.bench.cost import Floats
from infra.bench.fleet_figures import CANDIDATE, PHOTO, RESULT, BreakEven, TrafficFigures, render
from infra.bench.fleet_simulation import ON_DEMAND, PROVISIONED, SNAPSTART, Draws, Load, Period, Rules, StartType, Times
from infra.bench.tables import BENCH
from infra.emulator.demo import SAMPLE
from infra.emulator.event import predict_request
from infra.emulator.runtime import Runtime, RuntimeDied, RuntimeNotFound, lambda_runtime
from infra.emulator.serve import background, local_app

RATES = (1, 100, 10_000)  # requests a second
SEED = 0
# Assumed: published REPORT lines, most of them of Java, have 326 to 565 ms. Not measurable outside AWS.
RESTORE_MS = 400
ROUNDS = 5  # the median tolerates rounds with other load on the machine
WARM_REQUESTS, QUEUED_REQUESTS = 20, 30
OVERLOAD = 2.0  # multiple of the rate that the emulator's environment can serve
REQUEST = predict_request(SAMPLE)
HEADERS = {"content-type": dict(REQUEST.headers)["content-type"]}

Start = Callable[[], contextlib.AbstractContextManager[Runtime]]


class BenchError(ValueError):
    """The file of the benchmark is missing or lacks a figure; the message names the file and the expected value."""


def read_times(path: Path) -> Times:
    """Return the times of `CANDIDATE` with `PHOTO`. Raise `BenchError` if the file is missing or lacks a figure."""
    try:
        figures = json.loads(path.read_text())["candidates"][CANDIDATE]
        init, first, cold, warm = figures["init_ms"], figures["first_ms"], figures["cold_ms"], figures["warm_ms"][PHOTO]
        return Times(init["p50"], first["p50"], warm["p50"], warm["p95"], warm["p99"], cold["p95"] / cold["p50"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path}: {error!r}; expected what `make bench` writes") from error


def summarize(
    strategy: str, traffic: str, periods: Sequence[Period], draws: Draws, load: Load, rules: Rules
) -> TrafficFigures:
    """Simulate one traffic under `rules` and return its figures."""
    outcome, counted = simulation.simulate(load, rules), draws.counted
    seconds = sum(period.seconds for period in periods if period.counted)
    dollars = simulation.compute_usd(outcome, counted, seconds, strategy, rules.provisioned)
    start_types = outcome.start_types[counted]
    latency = 1000 * outcome.latency[counted & (outcome.start_types != StartType.THROTTLED)]
    cold = int(np.count_nonzero(start_types == StartType.COLD))
    p50, p99, p999 = np.quantile(latency, [0.5, 0.99, 0.999]).tolist()
    return TrafficFigures(
        strategy,
        traffic,
        rate=periods[0].rate,
        simulated_s=seconds,
        requests=len(start_types),
        environments=int(outcome.environments[counted].max()),
        provisioned=rules.provisioned,
        busy=float(outcome.busy[counted].mean()),
        cold=cold,
        cold_share=cold / len(start_types),
        cold_per_hour=3600 * cold / seconds,
        throttled_share=float((start_types == StartType.THROTTLED).mean()),
        p50_ms=p50,
        p99_ms=p99,
        p999_ms=p999,
        usd_per_million=1e6 * dollars / len(latency),
        usd_per_hour=3600 * dollars / seconds,
    )


def simulate_traffic(
    times: Times, *, rates: Sequence[float] = RATES, idle_s: float, restore_ms: float, seed: int
) -> list[TrafficFigures]:
    """Simulate each rate, steady and in a burst, with each strategy on the same requests."""
    found = []
    for rate in rates:
        on_demand = Rules(idle_s=idle_s, warm=simulation.count_settled(rate, times, idle_s))
        # Sized for steady traffic: its environments, or 10 requests/s each with the buffer that AWS recommends:
        # https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
        ready = max(on_demand.warm, math.ceil(1.1 * rate / on_demand.requests_per_environment))
        provisioned = Rules(idle_s=idle_s, provisioned=ready)
        for traffic, periods in (
            ("steady", simulation.make_steady(rate, idle_s)),
            ("burst", simulation.make_burst(rate, idle_s)),
        ):
            draws = simulation.draw(periods, seed)
            initialized = simulation.time_requests(draws, times, times.init)
            restored = simulation.time_requests(draws, times, restore_ms)
            found += [
                summarize(ON_DEMAND, traffic, periods, draws, initialized, on_demand),
                summarize(PROVISIONED, traffic, periods, draws, initialized, provisioned),
                summarize(SNAPSTART, traffic, periods, draws, restored, on_demand),
            ]
    return found


def measure_agreement(rounds: int = ROUNDS, start: Start = lambda_runtime) -> float:
    """Return the ratio of predicted to measured p50 under the emulator, the median of the rounds; 1 is perfect.

    Raise `RuntimeNotFound` if the emulator is missing.
    """
    return statistics.median(_predicted_to_measured(start) for _ in range(rounds))


def _predicted_to_measured(start: Start) -> float:
    with (
        start() as runtime,
        background(local_app(runtime.endpoint)) as url,
        httpx2.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        cold, *warm = [_ask(client) for _ in range(1 + WARM_REQUESTS)]
    arrivals = np.arange(QUEUED_REQUESTS, dtype=np.float64) * (statistics.median(warm) / OVERLOAD)
    load = Load(arrivals, np.resize(warm, QUEUED_REQUESTS), np.full(QUEUED_REQUESTS, cold))
    with start() as runtime, background(local_app(runtime.endpoint)) as url:
        measured = asyncio.run(_send(url, arrivals))
    return float(np.median(simulation.simulate(load, simulation.EMULATOR).latency)) / statistics.median(measured)


def _ask(client: httpx2.Client) -> float:
    """Send one request; return the seconds until its answer."""
    started = time.perf_counter()
    client.post(REQUEST.path, content=REQUEST.body, headers=HEADERS).raise_for_status()
    return time.perf_counter() - started


async def _send(url: str, arrivals: Floats) -> list[float]:
    """Send each request at its time, regardless of earlier ones; return the seconds from that time to its answer."""
    limits = httpx2.Limits(max_connections=None)  # the function queues, not the client
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=limits) as client:
        started = time.perf_counter()

        async def ask(arrival: float) -> float:
            await asyncio.sleep(started + arrival - time.perf_counter())
            (await client.post(REQUEST.path, content=REQUEST.body, headers=HEADERS)).raise_for_status()
            return time.perf_counter() - started - arrival

        return await asyncio.gather(*map(ask, arrivals.tolist()))


def list_assumptions(times: Times, idle_s: float, restore_ms: float) -> list[str]:
    """Return the assumptions: what is not published, not measurable outside AWS, or left out."""
    multiple, seconds = simulation.BURST, simulation.BURST_S
    return [
        f"An idle environment ends after {idle_s:g} s, and the most recently used takes a request; both unpublished.",
        f"SnapStart restores in {restore_ms:g} ms, of which all is billed; it cannot be measured without AWS.",
        "A cold start is init and first request as measured; finding a place and loading the image come on top.",
        f"Warm times are lognormal through p50 and p99 (p95 {times.fitted_p95:.1f}, measured {times.warm_p95:.1f} ms).",
        "A request is billed for as long as its client waits, which is a little longer than Lambda's own clock runs.",
        "The client's network is not in the latency; a throttled client does not try again.",
        "The account's quota of 1,000 concurrent requests, which also means 10,000 a second, was raised.",
        "Requests a second are counted in whole seconds.",
        f"A burst is {multiple} times the rate for {seconds} s, on a fleet that has long served the rate.",
        "Provisioned concurrency is sized for the rate, and a burst does not change it.",
    ]


def find_break_even(times: Times, idle_s: float, restore_ms: float) -> BreakEven:
    prices, per_s = cost.PRICES["x86_64"], Rules().requests_per_environment
    share = prices.provisioned_gb_second / (prices.gb_second - prices.provisioned_busy_gb_second)
    return BreakEven(
        provisioned_busy_share=share,
        provisioned_reachable_share=min(1.0, per_s * times.warm_mean / 1000),
        provisioned_from_ms=1000 * share / per_s,
        snapstart_from_init_ms=restore_ms + 1000 * cost.SNAPSTART_RESTORED_GB / prices.gb_second,
        snapstart_faster=restore_ms < times.init,
        p99_cold_below_rate=math.log(100) / idle_s,  # a share of exp(-rate * idle_s) of the gaps is longer than idle_s
    )


def run(bench: Path) -> str:
    """Simulate, write the result, and return the table. Raise `BenchError` for a bad file."""
    times, idle_s = read_times(bench), Rules().idle_s
    figures = json.loads(bench.read_text())
    result = {
        "hardware": figures["hardware"],
        "commit": figures["commit"],
        "agreement": round(measure_agreement(), 3),
        "assumptions": list_assumptions(times, idle_s, RESTORE_MS),
        "times_ms": asdict(times),
        "seed": SEED,
        "traffic": [asdict(row) for row in simulate_traffic(times, idle_s=idle_s, restore_ms=RESTORE_MS, seed=SEED)],
        "break_even": asdict(find_break_even(times, idle_s, RESTORE_MS)),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    return render(result)


def main(bench: Path = BENCH) -> int:
    """Run the command; return 1 after an error."""
    try:
        print(run(bench))
    except (BenchError, RuntimeNotFound, RuntimeDied, httpx2.HTTPError) as error:
        print(f"fleet: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
