"""The questions to the simulated fleet: each traffic with each way to start environments, and what it costs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import poisson

from infra.bench import cost
from infra.bench.fleet_model import Load, Outcome, Rules, Taken, simulate
from infra.bench.fleet_times import Times
from infra.bench.fleet_traffic import Drawn, Piece, burst, draw, load, steady

MEMORY_MB = 1769  # as in template.yaml: a whole vCPU, which is what the times were measured on
RATES = (1, 100, 10_000)  # requests a second
QUIET_RATES = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1, 10)

ON_DEMAND, PROVISIONED, SNAPSTART = "on demand", "provisioned", "SnapStart"


def settled(rate: float, times: Times, idle_s: float) -> int:
    """Environments of a fleet that has long served this rate: as many as are busy at once every `idle_s` or so.

    How many are busy is Poisson-distributed (M/G/infinity). Begun with none, 10,000 requests/s would start a thousand
    in the time of one init, and keep them for as long as is simulated.
    """
    return int(poisson.isf(1 / max(1.0, rate * idle_s), rate * times.warm_mean / 1000)) + 1


@dataclass(frozen=True)
class Answer:
    """About the counted requests of one traffic, of which at least one was served."""

    strategy: str
    traffic: str
    rate: float
    simulated_s: float  # counted
    requests: int
    environments: int  # at most
    provisioned: int
    busy: float  # mean
    cold: int
    cold_share: float
    cold_per_hour: float
    throttled_share: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    usd_per_million: float  # served
    usd_per_hour: float


def usd(outcome: Outcome, counted: npt.NDArray[np.bool_], seconds: float, strategy: str, provisioned: int) -> float:
    """The bill for `seconds` with these requests; init and restore are billed as the request that waits for them."""
    prices, gb = cost.PRICES["x86_64"], MEMORY_MB / 1024
    taken = outcome.taken[counted]
    billed_s = cost.billed_ms(1000 * outcome.duration[counted]) / 1000
    ready = taken == Taken.PROVISIONED
    total = cost.USD_PER_REQUEST * float(np.count_nonzero(taken))
    total += gb * float(billed_s[~ready].sum()) * prices.gb_second
    total += gb * float(billed_s[ready].sum()) * prices.provisioned_busy_gb_second
    total += gb * provisioned * seconds * prices.provisioned_gb_second
    if strategy == SNAPSTART:
        restored = np.count_nonzero(taken == Taken.COLD)
        total += gb * (seconds * cost.SNAPSTART_GB_SECOND + restored * cost.SNAPSTART_RESTORED_GB)
    return float(total)


def answer(strategy: str, traffic: str, pieces: Sequence[Piece], drawn: Drawn, load: Load, rules: Rules) -> Answer:
    outcome, counted = simulate(load, rules), drawn.counted
    seconds = sum(piece.seconds for piece in pieces if piece.counted)
    dollars = usd(outcome, counted, seconds, strategy, rules.provisioned)
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
    """Each rate, steady and in a burst, with each strategy on the same requests."""
    found = []
    for rate in rates:
        on_demand = Rules(idle_s=idle_s, warm=settled(rate, times, idle_s))
        # For the steady traffic: what it needs, and 10 requests a second for each, with the buffer that AWS advises:
        # https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
        ready = max(on_demand.warm, math.ceil(1.1 * rate / on_demand.requests_per_environment))
        provisioned = Rules(idle_s=idle_s, provisioned=ready)
        for traffic, pieces in (("steady", steady(rate, idle_s)), ("burst", burst(rate, idle_s))):
            drawn = draw(pieces, seed)
            initialised, restored = load(drawn, times, times.init), load(drawn, times, restore_ms)
            found += [
                answer(ON_DEMAND, traffic, pieces, drawn, initialised, on_demand),
                answer(PROVISIONED, traffic, pieces, drawn, initialised, provisioned),
                answer(SNAPSTART, traffic, pieces, drawn, restored, on_demand),
            ]
    return found


def quiet(times: Times, *, rates: Sequence[float] = QUIET_RATES, idle_s: float, seed: int) -> dict[float, float]:
    """Requests a second to the share of cold starts: how seldom may requests come before most of them wait?"""
    shares = {}
    for rate in rates:
        pieces = [Piece(rate, 10_000 / rate, counted=True)]
        drawn = draw(pieces, seed)
        rules = Rules(idle_s=idle_s, warm=settled(rate, times, idle_s))
        outcome = simulate(load(drawn, times, times.init), rules)
        shares[rate] = float((outcome.taken == Taken.COLD).mean())
    return shares
