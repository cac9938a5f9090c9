"""The pictures of the report: what happened over time, and how far the signals are from the reference."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import reduce
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import dates
from matplotlib import pyplot as plt
from matplotlib.ticker import PercentFormatter

from infra.report.log_reader import Column
from infra.report.svg import ALARM, COLOURS, INK, SMALL, STYLES, TALL, svg

Point = Mapping[str, Any]  # of report["over_time"]


def requests(points: Sequence[Point]) -> str:
    """Stacked by version."""

    def draw(axes: plt.Axes) -> None:
        below: dict[datetime, float] = {}
        for colour, (version, found) in zip(cycle(COLOURS), _by_version(points).items(), strict=False):
            times, counts = _series(found, "requests")
            bottoms = [below.get(time, 0) for time in times]
            axes.bar(times, counts, 0.9 * _width(points[0]), bottoms, align="edge", color=colour, label=version)
            below |= {time: bottom + count for time, bottom, count in zip(times, bottoms, counts, strict=True)}
        _finish(axes, points)

    return svg(draw)


def lines(
    points: Sequence[Point], names: Mapping[str, tuple[str, ...]], *, percent: bool = False, log: bool = False
) -> str:
    """Each of `names` (its label, to where it is in the figures) over time, a style a version."""

    def draw(axes: plt.Axes) -> None:
        for style, found in zip(cycle(STYLES), _by_version(points).values(), strict=False):
            for colour, (label, keys) in zip(cycle(COLOURS), names.items(), strict=False):
                said = label if style == STYLES[0] else "_"  # Matplotlib leaves such labels out of the legend
                axes.plot(*_series(found, *keys), style, color=colour, label=said, marker=".", lw=1.4)
        if percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
        _finish(axes, points)

    return svg(draw)


def accuracy(points: Sequence[Point]) -> str:
    """Of the labelled predictions, with Wilson's interval, a colour a version."""

    def draw(axes: plt.Axes) -> None:
        for colour, (version, found) in zip(cycle(COLOURS), _by_version(points).items(), strict=False):
            times, values = _series(found, "accuracy")
            low, high = np.transpose([point["accuracy_interval"] for point in found if point["labelled"]] or [[], []])
            errors = (np.subtract(values, low), np.subtract(high, values))
            axes.errorbar(times, values, errors, fmt="o", ms=4, color=colour, elinewidth=1.2, capsize=2, label=version)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        _finish(axes, points)

    return svg(draw)


def distances(signals: Mapping[str, Mapping[str, Any]]) -> str:
    """In units of the limit, farthest on top."""
    ranked = sorted(signals.items(), key=lambda item: item[1]["distance"] / item[1]["limit"])

    def draw(axes: plt.Axes) -> None:
        ratios = [found["distance"] / found["limit"] for _, found in ranked]
        colours = [ALARM if found["drifted"] else COLOURS[0] for _, found in ranked]
        axes.barh([name.replace("_", " ") for name, _ in ranked], ratios, color=colours, height=0.6)
        axes.axvline(1, color=INK, lw=1, ls="--")
        axes.set(xlabel="distance to the reference, in units of its limit")
        axes.grid(visible=False, axis="y")

    return svg(draw, TALL)


def distribution(ours: Column, theirs: Column, *, drifted: bool) -> str:
    """Traffic as a line over the reference as an area; what lies outside of 98 % of both is counted at the ends."""

    def draw(axes: plt.Axes) -> None:
        ends = np.quantile(np.concatenate([ours, theirs]), (0.01, 0.99))
        edges = np.linspace(ends[0], max(ends[1], ends[0] + 1e-6), 25)
        for values, options in (
            (theirs, {"histtype": "stepfilled", "color": COLOURS[-1], "alpha": 0.35}),
            (ours, {"histtype": "step", "color": ALARM if drifted else COLOURS[0], "lw": 1.5}),
        ):
            axes.hist(values.clip(edges[0], edges[-1]), edges, weights=np.full(len(values), 1 / len(values)), **options)
        axes.set(yticks=[])
        axes.locator_params(axis="x", nbins=3)
        axes.spines["left"].set_visible(False)

    return svg(draw, SMALL)


def _by_version(points: Sequence[Point]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point["model_version"], []).append(point)
    return found


def _series(points: Sequence[Point], *keys: str) -> tuple[list[datetime], list[float]]:
    """Without the points that have no such value; more keys lead into nested figures."""
    found: list[tuple[datetime, Any]] = [
        (datetime.fromisoformat(point["from"]), reduce(_inside, keys, point)) for point in points
    ]
    return [time for time, value in found if value is not None], [value for _, value in found if value is not None]


def _inside(figures: Any, key: str) -> Any:
    return None if figures is None else figures.get(key)


def _width(point: Point) -> timedelta:
    return datetime.fromisoformat(point["to"]) - datetime.fromisoformat(point["from"])


def _finish(axes: plt.Axes, points: Sequence[Point]) -> None:
    """Times that say no more than they have to; a legend above, where it hides nothing."""
    locator = dates.AutoDateLocator(minticks=3, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderpad=0, columnspacing=1.2, handlelength=1.4)
    first, last = min(point["from"] for point in points), max(point["to"] for point in points)
    axes.set_xlim(datetime.fromisoformat(first), datetime.fromisoformat(last))
