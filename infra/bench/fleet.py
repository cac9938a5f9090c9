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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from infra.bench import cost
from infra.bench import fleet_simulation as simulation
from infra.bench.cost import Floats
from infra.bench.fleet_simulation import ON_DEMAND, PROVISIONED, SNAPSTART, Drawn, Load, Piece, Rules, Taken, Times
from infra.bench.tables import BENCH
from infra.emulator.demo import SAMPLE
from infra.emulator.event import predict_request
from infra.emulator.runtime import ROOT, Runtime, RuntimeDied, RuntimeNotFound, lambda_runtime
from infra.emulator.serve import background, local_app
from infra.markdown import table

RESULT = ROOT / "artifacts/fleet.json"
CANDIDATE, PHOTO = "ours", "500x375"
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


def read(path: Path) -> Times:
    """Return the times of `CANDIDATE` with `PHOTO`. Raise `BenchError` if the file is missing or lacks a figure."""
    try:
        ours = json.loads(path.read_text())["candidates"][CANDIDATE]
        init, first, cold, warm = ours["init_ms"], ours["first_ms"], ours["cold_ms"], ours["warm_ms"][PHOTO]
        return Times(init["p50"], first["p50"], warm["p50"], warm["p95"], warm["p99"], cold["p95"] / cold["p50"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path}: {error!r}; expected what `make bench` writes") from error


@dataclass(frozen=True)
class Answer:
    """Figures on the counted requests of one traffic; at least one of them was served."""

    strategy: str
    traffic: str
    rate: float
    simulated_s: float  # without the time before counting begins
    requests: int
    environments: int  # maximum
    provisioned: int
    busy: float  # mean
    cold: int
    cold_share: float
    cold_per_hour: float
    throttled_share: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    usd_per_million: float  # per million served
    usd_per_hour: float


def summarize(strategy: str, traffic: str, pieces: Sequence[Piece], drawn: Drawn, load: Load, rules: Rules) -> Answer:
    """Simulate one traffic under `rules` and return its figures."""
    outcome, counted = simulation.simulate(load, rules), drawn.counted
    seconds = sum(piece.seconds for piece in pieces if piece.counted)
    dollars = simulation.usd(outcome, counted, seconds, strategy, rules.provisioned)
    taken, latency = outcome.taken[counted], 1000 * outcome.latency[counted & (outcome.taken != Taken.THROTTLED)]
    cold = int(np.count_nonzero(taken == Taken.COLD))
    p50, p99, p999 = np.quantile(latency, [0.5, 0.99, 0.999]).tolist()
    return Answer(
        strategy,
        traffic,
        rate=pieces[0].rate,
        simulated_s=seconds,
        requests=len(taken),
        environments=int(outcome.environments[counted].max()),
        provisioned=rules.provisioned,
        busy=float(outcome.busy[counted].mean()),
        cold=cold,
        cold_share=cold / len(taken),
        cold_per_hour=3600 * cold / seconds,
        throttled_share=float((taken == Taken.THROTTLED).mean()),
        p50_ms=p50,
        p99_ms=p99,
        p999_ms=p999,
        usd_per_million=1e6 * dollars / len(latency),
        usd_per_hour=3600 * dollars / seconds,
    )


def answers(
    times: Times, *, rates: Sequence[float] = RATES, idle_s: float, restore_ms: float, seed: int
) -> list[Answer]:
    """Simulate each rate, steady and in a burst, with each strategy on the same requests."""
    found = []
    for rate in rates:
        on_demand = Rules(idle_s=idle_s, warm=simulation.settled(rate, times, idle_s))
        # Sized for steady traffic: its environments, or 10 requests/s each with the buffer that AWS recommends:
        # https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
        ready = max(on_demand.warm, math.ceil(1.1 * rate / on_demand.requests_per_environment))
        provisioned = Rules(idle_s=idle_s, provisioned=ready)
        for traffic, pieces in (("steady", simulation.steady(rate, idle_s)), ("burst", simulation.burst(rate, idle_s))):
            drawn = simulation.draw(pieces, seed)
            initialized, restored = simulation.load(drawn, times, times.init), simulation.load(drawn, times, restore_ms)
            found += [
                summarize(ON_DEMAND, traffic, pieces, drawn, initialized, on_demand),
                summarize(PROVISIONED, traffic, pieces, drawn, initialized, provisioned),
                summarize(SNAPSTART, traffic, pieces, drawn, restored, on_demand),
            ]
    return found


def agreement(rounds: int = ROUNDS, start: Start = lambda_runtime) -> float:
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


def assumptions(times: Times, idle_s: float, restore_ms: float) -> list[str]:
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


@dataclass(frozen=True)
class BreakEven:
    """Points from which provisioned concurrency and SnapStart save money, from prices and rules alone."""

    provisioned_busy_share: float  # above this share, a provisioned environment is cheaper
    provisioned_reachable_share: float  # the maximum with 10 requests per second
    provisioned_from_ms: float  # billed duration that reaches the share
    snapstart_from_init_ms: float  # duration of an init that costs as much as a restore
    snapstart_faster: bool
    p99_cold_below_rate: float  # requests/s; below this rate, 1 % of the requests find no environment


def break_even(times: Times, idle_s: float, restore_ms: float) -> BreakEven:
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


HEADINGS = (
    "requests/s|traffic|simulated|strategy|environments|cold|throttled|p50|p99|p99.9|USD per million|USD per hour"
)


def render(result: Mapping[str, Any]) -> str:
    """Return the Markdown of infra/bench/RESULTS.md for the content of artifacts/fleet.json."""
    rows, even = [Answer(**row) for row in result["answers"]], BreakEven(**result["break_even"])
    return f"""\
Candidate `{CANDIDATE}`, photo {PHOTO}, {simulation.MEMORY_MB} MB, x86, us-east-1.

{table(HEADINGS.split("|"), map(_row, rows))}

{_list([*_rules(even), *_prices(rows)])}

Assumptions:

{_list(result["assumptions"])}

One environment, simulated and under Lambda's emulator: p50 of {result["agreement"]:.2f} to 1."""


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _row(a: Answer) -> list[str]:
    strategy = f"{a.provisioned:,} {a.strategy}" if a.provisioned else a.strategy
    cells = [f"{a.rate:,}", a.traffic, f"{a.simulated_s:,.0f} s", strategy, f"{a.environments:,}"]
    cells += [f"{100 * a.cold_share:.3f} %", f"{100 * a.throttled_share:.1f} %"]
    cells += [f"{ms:.0f} ms" for ms in (a.p50_ms, a.p99_ms, a.p999_ms)]
    return [*cells, f"{a.usd_per_million:.2f}", f"{a.usd_per_hour:.4f}"]


def _rules(even: BreakEven) -> list[str]:
    busy, reachable = 100 * even.provisioned_busy_share, 100 * even.provisioned_reachable_share
    from_ms, init_s, below = even.provisioned_from_ms, even.snapstart_from_init_ms / 1000, even.p99_cold_below_rate
    comparison = "shorter" if even.snapstart_faster else "no shorter"
    # A restored environment also needs a snapshot, which costs by the hour; the table includes it.
    return [
        f"Provisioned concurrency saves money if its environments are busy more than {busy:.0f} % of the time.",
        f"The limit of 10 requests/s each allows {reachable:.0f} % here, and enough from {from_ms:.0f} ms per request.",
        f"A SnapStart restore costs less than an init of {init_s:.1f} s or more.",
        f"With the assumed time, it is {comparison} than an init of this function.",
        f"Below {below:.4f} requests/s, one in {1 / below:.0f} s, p99 is a cold start.",
    ]


def _prices(answers: Sequence[Answer]) -> list[str]:
    """Return the cost of avoiding cold starts, one line per rate."""
    steady = {(a.rate, a.strategy): a for a in answers if a.traffic == "steady"}
    return [
        f"At {rate:,} requests/s, steady, {plain.cold:,} of {plain.requests:,} are cold on demand: "
        + "; ".join(_price(plain, steady[rate, other]) for other in (PROVISIONED, SNAPSTART))
        + "."
        for (rate, strategy), plain in steady.items()
        if strategy == ON_DEMAND
    ]


def _price(plain: Answer, other: Answer) -> str:
    more, avoided = other.usd_per_hour - plain.usd_per_hour, plain.cold_per_hour - other.cold_per_hour
    each = f", {more / avoided:.3g} for each cold start avoided" if avoided > 0 else ""
    return f"{other.strategy} costs {more:+.4f} USD an hour{each}"


def run(bench: Path) -> str:
    """Simulate, write the result, and return the table. Raise `BenchError` for a bad file."""
    times, idle_s = read(bench), Rules().idle_s
    figures = json.loads(bench.read_text())
    result = {
        "hardware": figures["hardware"],
        "commit": figures["commit"],
        "agreement": round(agreement(), 3),
        "assumptions": assumptions(times, idle_s, RESTORE_MS),
        "times_ms": asdict(times),
        "seed": SEED,
        "answers": [asdict(row) for row in answers(times, idle_s=idle_s, restore_ms=RESTORE_MS, seed=SEED)],
        "break_even": asdict(break_even(times, idle_s, RESTORE_MS)),
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
