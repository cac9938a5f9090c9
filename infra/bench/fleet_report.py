"""Report of the simulated fleet: assumptions, break-even points, a Markdown table and a plot."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt

from infra.bench import cost
from infra.bench.fleet_model import Rules
from infra.bench.fleet_scenarios import MEMORY_MB, ON_DEMAND, PROVISIONED, SNAPSTART, Answer
from infra.bench.fleet_times import CANDIDATE, PHOTO, Times
from infra.bench.fleet_traffic import BURST, BURST_S
from infra.markdown import table


def assumptions(times: Times, idle_s: float, restore_ms: float) -> list[str]:
    """Return the assumptions: what is not published, not measurable outside AWS, or left out."""
    return [
        f"An idle environment ends after {idle_s:g} s, and the most recently used takes a request; both unpublished.",
        f"SnapStart restores in {restore_ms:g} ms, of which all is billed; it cannot be measured without AWS.",
        "A cold start is init and first request as measured; finding a place and loading the image come on top.",
        f"Warm times are lognormal through p50 and p99 (p95 {times.fitted_p95:.1f}, measured {times.warm_p95:.1f} ms).",
        "A request is billed for as long as its client waits, which is a little longer than Lambda's own clock runs.",
        "The client's network is not in the latency; a throttled client does not try again.",
        "The account's quota of 1,000 concurrent requests, which also means 10,000 a second, was raised.",
        "Requests a second are counted in whole seconds.",
        f"A burst is {BURST} times the rate for {BURST_S} s, on a fleet that has long served the rate.",
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
    "requests/s",
    "traffic",
    "simulated",
    "strategy",
    "environments",
    "cold",
    "throttled",
    "p50",
    "p99",
    "p99.9",
    "USD per million",
    "USD per hour",
)


def markdown(answers: Sequence[Answer], even: BreakEven, assumed: Sequence[str]) -> str:
    """Return the table, the break-even points and the assumptions as Markdown."""
    head = f"Candidate `{CANDIDATE}`, photo {PHOTO}, {MEMORY_MB} MB, x86, us-east-1."
    pays = [f"- {line}" for line in (*_rules(even), *_prices(answers))]
    return "\n".join(
        [
            head,
            "",
            table(HEADINGS, map(_row, answers)),
            "",
            *pays,
            "",
            "Assumptions:",
            "",
            *(f"- {line}" for line in assumed),
        ]
    )


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


def plot(answers: Sequence[Answer], quiet: Mapping[float, float], idle_s: float, path: Path) -> None:
    """Write a plot of cold starts, cost and p99.9 to `path`."""
    figure, axes = plt.subplots(1, 3, figsize=(15, 4), layout="constrained")
    _plot_quiet(axes[0], quiet, idle_s)
    _plot_bars(axes[1], [a for a in answers if a.traffic == "steady"], "usd_per_million", "USD per million, steady")
    _plot_bars(axes[2], [a for a in answers if a.traffic == "burst"], "p999_ms", "p99.9 in a burst, ms")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})  # the same figures give the same bytes
    plt.close(figure)


def _plot_quiet(axis: plt.Axes, quiet: Mapping[float, float], idle_s: float) -> None:
    rates = sorted(quiet)
    axis.plot(rates, [100 * quiet[rate] for rate in rates], "o", label="simulated")
    line = [rate for rate in rates if rate * idle_s < 10]
    axis.plot(line, [100 * math.exp(-rate * idle_s) for rate in line], label=f"gaps over {idle_s:g} s")
    axis.axhline(1, linestyle=":", color="grey", label="p99 is a cold start above")
    axis.set(xscale="log", yscale="log", xlabel="requests/s", ylabel="cold starts, %")
    axis.grid(alpha=0.3)
    axis.legend()


def _plot_bars(axis: plt.Axes, answers: Sequence[Answer], figure: str, label: str) -> None:
    rates = sorted({a.rate for a in answers})
    for index, strategy in enumerate((ON_DEMAND, PROVISIONED, SNAPSTART)):
        heights = [getattr(a, figure) for rate in rates for a in answers if (a.rate, a.strategy) == (rate, strategy)]
        axis.bar([place + 0.27 * (index - 1) for place in range(len(rates))], heights, width=0.25, label=strategy)
    axis.set(xlabel="requests/s", ylabel=label)
    axis.set_xticks(range(len(rates)), [f"{rate:,}" for rate in rates])
    axis.grid(alpha=0.3, axis="y")
    axis.margins(y=0.2)  # room for the legend
    axis.legend(ncols=3, loc="upper center")
