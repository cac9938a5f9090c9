"""Scenarios of the simulated fleet: each traffic with each strategy for cold starts, and its cost."""

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
    """Return the environments of a fleet in steady state: the number that is busy at once about every `idle_s` seconds.

    The number of busy environments is Poisson-distributed (M/G/infinity). Without any at the beginning, 10,000
    requests/s would start a thousand during one init, and keep them for the whole simulation.
    """
    return int(poisson.isf(1 / max(1.0, rate * idle_s), rate * times.warm_mean / 1000)) + 1


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


def usd(outcome: Outcome, counted: npt.NDArray[np.bool_], seconds: float, strategy: str, provisioned: int) -> float:
    """Return the cost of these requests; init and restore are billed like the request that waits for them."""
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


def summarize(strategy: str, traffic: str, pieces: Sequence[Piece], drawn: Drawn, load: Load, rules: Rules) -> Answer:
    """Simulate one traffic under `rules` and return its figures."""
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
    """Simulate each rate, steady and in a burst, with each strategy on the same requests."""
    found = []
    for rate in rates:
        on_demand = Rules(idle_s=idle_s, warm=settled(rate, times, idle_s))
        # Sized for steady traffic: its environments, or 10 requests/s each with the buffer that AWS recommends:
        # https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
        ready = max(on_demand.warm, math.ceil(1.1 * rate / on_demand.requests_per_environment))
        provisioned = Rules(idle_s=idle_s, provisioned=ready)
        for traffic, pieces in (("steady", steady(rate, idle_s)), ("burst", burst(rate, idle_s))):
            drawn = draw(pieces, seed)
            initialized, restored = load(drawn, times, times.init), load(drawn, times, restore_ms)
            found += [
                summarize(ON_DEMAND, traffic, pieces, drawn, initialized, on_demand),
                summarize(PROVISIONED, traffic, pieces, drawn, initialized, provisioned),
                summarize(SNAPSTART, traffic, pieces, drawn, restored, on_demand),
            ]
    return found


def quiet(times: Times, *, rates: Sequence[float] = QUIET_RATES, idle_s: float, seed: int) -> dict[float, float]:
    """Return the share of cold starts by rate (requests/s), mostly for rates at which environments end."""
    shares = {}
    for rate in rates:
        pieces = [Piece(rate, 10_000 / rate, counted=True)]
        drawn = draw(pieces, seed)
        rules = Rules(idle_s=idle_s, warm=settled(rate, times, idle_s))
        outcome = simulate(load(drawn, times, times.init), rules)
        shares[rate] = float((outcome.taken == Taken.COLD).mean())
    return shares
