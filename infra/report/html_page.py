"""Render report.html from template.html: one file without external resources."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from infra import ROOT
from infra.report import alarms, charts
from infra.report.log_reader import Log
from infra.report.reference import Reference
from infra.report.split_table import NO_FIGURE, format_percent, list_rows
from lambda_app.signals import NUMERIC_FIELDS

HISTOGRAM_PHOTOS = 20_000  # more would not change the shape


def render_page(report: Mapping[str, Any], log: Log, baseline: Reference | None) -> str:
    """Return the page. `baseline` holds the photos that the traffic was compared with."""
    templates = Environment(
        loader=FileSystemLoader(ROOT / "infra/report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "percent": format_percent,
        "interval": format_interval,
        "ms": format_milliseconds,
        "number": format_number,
        "duration": format_duration,
    }
    return templates.get_template("template.html").render(
        report=report,
        charts=draw_charts(report),
        split_rows=list_rows(report["split"]) if report["split"]["compared"] else [],
        distributions=list(draw_distributions(report["drift"], log, baseline)),
    )


def draw_charts(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the SVG of each chart that the log has data for, by name."""
    points, drawn = report["over_time"], {}
    if report["overall"]["requests"]:
        drawn["requests"] = charts.draw_requests(points)
        rates = {"errors": ("error_rate",), "cold starts": ("cold_start_rate",)}
        drawn["rates"] = charts.draw_lines(points, rates, percent=True)
    if report["overall"]["latency_ms"]:
        latencies = {name: ("latency_ms", name) for name in ("mean", "p50", "p95", "p99")}
        drawn["latency"] = charts.draw_lines(points, latencies, log=True)
    if report["overall"]["predictions"]:
        names = report["overall"]["classes"]
        shares = [_with_class_shares(point, names) for point in points]
        drawn["classes"] = charts.draw_lines(shares, {name: ("classes", name) for name in names}, percent=True)
        drawn["unknown"] = charts.draw_lines(points, {"unknown": ("unknown_share",)}, percent=True)
        drawn["confidence"] = charts.draw_lines(points, {"mean confidence": ("confidence",)}, percent=True)
    if report["overall"]["labels"]:
        drawn["accuracy"] = charts.draw_accuracy(report["labels_over_time"])
    if report["drift"]["judged"]:
        drawn["distances"] = charts.draw_distances(report["drift"]["signals"])
    return drawn


def _with_class_shares(point: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a copy of the point with the share of each class in place of the counts: 0 for a class without any."""
    total = point["predictions"]
    return {**point, "classes": {name: point["classes"].get(name, 0) / total for name in names} if total else {}}


def draw_distributions(
    drift: Mapping[str, Any], log: Log, baseline: Reference | None
) -> Iterator[tuple[str, bool, str]]:
    """Yield the name of each numeric signal, whether it drifted, and its chart."""
    if baseline is None or not drift["judged"]:
        return
    photos = alarms.select_photos(log.requests, drift["model_version"])
    photos = photos.iloc[:: max(1, len(photos) // HISTOGRAM_PHOTOS)]
    for name in NUMERIC_FIELDS:
        drifted = drift["signals"][name]["drifted"]
        yield name, drifted, charts.draw_distribution(photos[name], baseline.columns[name], drifted=drifted)


def format_interval(bounds: Sequence[float] | None) -> str:
    return NO_FIGURE if bounds is None else f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f} %"


def format_milliseconds(value: float | None) -> str:
    return NO_FIGURE if value is None else f"{value:,.1f}"


def format_duration(seconds: int) -> str:
    names = {86_400: "days", 3600: "hours", 60: "minutes"}
    unit = next(unit for unit in names if seconds % unit == 0)
    return f"{seconds // unit} {names[unit]}" if seconds > unit else names[unit].removesuffix("s")


def format_number(value: float | None) -> str:
    """Return counts with thousands separators, and other figures with four significant digits."""
    if value is None:
        return NO_FIGURE
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:.4g}"
