"""Define the figures of the simulated fleet, and render them for infra/bench/RESULTS.md."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.bench.fleet_simulation import MEMORY_MB, ON_DEMAND, PROVISIONED, SNAPSTART
from infra.emulator.runtime import ROOT
from infra.markdown import table

RESULT = ROOT / "artifacts/fleet.json"
CANDIDATE, PHOTO = "ours", "500x375"


@dataclass(frozen=True)
class TrafficFigures:
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


@dataclass(frozen=True)
class BreakEven:
    """Points from which provisioned concurrency and SnapStart save money, from prices and rules alone."""

    provisioned_busy_share: float  # above this share, a provisioned environment is cheaper
    provisioned_reachable_share: float  # the maximum with 10 requests per second
    provisioned_from_ms: float  # billed duration that reaches the share
    snapstart_from_init_ms: float  # duration of an init that costs as much as a restore
    snapstart_faster: bool
    p99_cold_below_rate: float  # requests/s; below this rate, 1 % of the requests find no environment


HEADINGS = (
    "requests/s|traffic|simulated|strategy|environments|cold|throttled|p50|p99|p99.9|USD per million|USD per hour"
)


def render(result: Mapping[str, Any]) -> str:
    """Return the Markdown of infra/bench/RESULTS.md for the content of artifacts/fleet.json."""
    rows, even = [TrafficFigures(**row) for row in result["traffic"]], BreakEven(**result["break_even"])
    return f"""\
Candidate `{CANDIDATE}`, photo {PHOTO}, {MEMORY_MB} MB, x86, us-east-1.

{table(HEADINGS.split("|"), map(_row, rows))}

{_list([*_rules(even), *_prices(rows)])}

Assumptions:

{_list(result["assumptions"])}

One environment, simulated and under Lambda's emulator: p50 of {result["agreement"]:.2f} to 1."""


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _row(a: TrafficFigures) -> list[str]:
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


def _prices(rows: Sequence[TrafficFigures]) -> list[str]:
    """Return the cost of avoiding cold starts, one line per rate."""
    steady = {(a.rate, a.strategy): a for a in rows if a.traffic == "steady"}
    return [
        f"At {rate:,} requests/s, steady, {plain.cold:,} of {plain.requests:,} are cold on demand: "
        + "; ".join(_price(plain, steady[rate, other]) for other in (PROVISIONED, SNAPSTART))
        + "."
        for (rate, strategy), plain in steady.items()
        if strategy == ON_DEMAND
    ]


def _price(plain: TrafficFigures, other: TrafficFigures) -> str:
    more, avoided = other.usd_per_hour - plain.usd_per_hour, plain.cold_per_hour - other.cold_per_hour
    each = f", {more / avoided:.3g} for each cold start avoided" if avoided > 0 else ""
    return f"{other.strategy} costs {more:+.4f} USD an hour{each}"
