"""Draw the charts of the report as SVG: metrics over time, and the signals' distances and distributions."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import reduce
from io import StringIO
from itertools import cycle, groupby
from operator import itemgetter
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import dates
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, PercentFormatter

from infra.report.log_reader import Column

Point = Mapping[str, Any]  # an element of report["over_time"]
INK = "#010203"  # a color that nothing else uses, to be replaced with currentColor
COLORS = ("#3b82f6", "#f59e0b", "#10b981", "#a855f7", "#ec4899", "#64748b")  # legible on white and on black
ALARM = "#ef4444"
STYLES = ("-", "--", ":", "-.")
# Text remains text, so that it uses the page's font, can be searched, and is read by screen readers.
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,  # class names may contain a dollar sign
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "legend.frameon": False,
    "savefig.transparent": True,
}
WIDE, TALL, SMALL = (4.4, 2.5), (4.4, 4.0), (2.5, 1.5)  # inches


def render_svg(draw: Callable[[plt.Axes], None], size: tuple[float, float] = WIDE) -> str:
    """Return the SVG element of a chart that `draw` draws on its axes. `size` is in inches."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        draw(axes)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        plt.close(figure)
    document = text.getvalue()
    return document[document.index("<svg") :].replace(INK, "currentColor")


def draw_requests(points: Sequence[Point]) -> str:
    """Draw the number of requests as bars, stacked by version."""

    def draw(axes: plt.Axes) -> None:
        tops: defaultdict[datetime, float] = defaultdict(float)
        for color, (version, series) in zip(cycle(COLORS), _by_version(points).items(), strict=False):
            times, counts = _series(series, "requests")
            bottoms = [tops[time] for time in times]
            axes.bar(times, counts, 0.9 * _width(points[0]), bottoms, align="edge", color=color, label=version)
            for time, count in zip(times, counts, strict=True):
                tops[time] += count
        _format_axes(axes, points)

    return render_svg(draw)


def draw_lines(
    points: Sequence[Point], names: Mapping[str, tuple[str, ...]], *, percent: bool = False, log: bool = False
) -> str:
    """Draw lines over time. `names` maps a label to the keys of its figure; each version has a line style."""

    def draw(axes: plt.Axes) -> None:
        for number, (style, series) in enumerate(zip(cycle(STYLES), _by_version(points).values(), strict=False)):
            for color, (label, keys) in zip(cycle(COLORS), names.items(), strict=False):
                # Matplotlib omits labels that begin with an underscore from the legend.
                legend = "_" if number else label
                axes.plot(*_series(series, *keys), style, color=color, label=legend, marker=".", lw=1.4)
        if percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # by default, 11 to 18 ms would have no label
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
        _format_axes(axes, points)

    return render_svg(draw)


def draw_accuracy(points: Sequence[Point]) -> str:
    """Draw the accuracy of the labeled predictions with its Wilson interval, in one color per version."""

    def draw(axes: plt.Axes) -> None:
        for color, (version, series) in zip(cycle(COLORS), _by_version(points).items(), strict=False):
            times, values = _series(series, "accuracy")
            low, high = np.transpose([point["accuracy_interval"] for point in series])
            errors = (np.subtract(values, low), np.subtract(high, values))
            axes.errorbar(times, values, errors, fmt="o", ms=4, color=color, elinewidth=1.2, capsize=2, label=version)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        _format_axes(axes, points)

    return render_svg(draw)


def draw_distances(signals: Mapping[str, Mapping[str, Any]]) -> str:
    """Draw the distance of each signal in units of its limit, largest on top."""
    ranked = sorted(signals.items(), key=lambda item: item[1]["ratio"])

    def draw(axes: plt.Axes) -> None:
        ratios = [figures["ratio"] for _, figures in ranked]
        colors = [ALARM if figures["drifted"] else COLORS[0] for _, figures in ranked]
        axes.barh([name.replace("_", " ") for name, _ in ranked], ratios, color=colors, height=0.6)
        axes.axvline(1, color=INK, lw=1, ls="--")
        axes.set(xlabel="distance from the reference, in units of the limit")
        axes.grid(visible=False, axis="y")

    return render_svg(draw, TALL)


def draw_distribution(values: Column, reference_values: Column, *, drifted: bool) -> str:
    """Draw traffic as a line over the reference as an area. The outermost bins include the 1 % beyond each end."""

    def draw(axes: plt.Axes) -> None:
        ends = np.quantile(np.concatenate([values, reference_values]), (0.01, 0.99))
        edges = np.linspace(ends[0], max(ends[1], ends[0] + 1e-6), 25)
        for numbers, options in (
            (reference_values, {"histtype": "stepfilled", "color": COLORS[-1], "alpha": 0.35}),
            (values, {"histtype": "step", "color": ALARM if drifted else COLORS[0], "lw": 1.5}),
        ):
            weights = np.full(len(numbers), 1 / len(numbers))
            axes.hist(numbers.clip(edges[0], edges[-1]), edges, weights=weights, **options)
        axes.set(yticks=[])
        axes.locator_params(axis="x", nbins=3)
        axes.spines["left"].set_visible(False)

    return render_svg(draw, SMALL)


def _by_version(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Group the points by version. The points of a version follow one another."""
    return {version: list(group) for version, group in groupby(points, key=itemgetter("model_version"))}


def _series(points: Sequence[Point], *keys: str) -> tuple[list[datetime], list[float]]:
    """Return the times and the values of the points that have the value. `keys` is the path to a nested figure."""
    pairs: list[tuple[datetime, Any]] = [
        (datetime.fromisoformat(point["from"]), reduce(_get_or_none, keys, point)) for point in points
    ]
    return [time for time, value in pairs if value is not None], [value for _, value in pairs if value is not None]


def _get_or_none(figures: Any, key: str) -> Any:
    return None if figures is None else figures.get(key)


def _width(point: Point) -> timedelta:
    return datetime.fromisoformat(point["to"]) - datetime.fromisoformat(point["from"])


def _format_axes(axes: plt.Axes, points: Sequence[Point]) -> None:
    """Format the time axis concisely, and place the legend above the chart so that it covers no data."""
    locator = dates.AutoDateLocator(minticks=3, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderpad=0, columnspacing=1.2, handlelength=1.4)
    first, last = min(point["from"] for point in points), max(point["to"] for point in points)
    axes.set_xlim(datetime.fromisoformat(first), datetime.fromisoformat(last))
