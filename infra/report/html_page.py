"""report.html: one file that asks nobody for anything; its words are in page.html."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from infra.emulator.runtime import ROOT
from infra.report import alarms, charts
from infra.report.drift import NUMBERS, Reference
from infra.report.log_reader import Log

NONE = "–"  # noqa: RUF001  # a dash, where there is no figure
SAMPLE = 20_000  # photos of a histogram; more would not change its shape


def render(report: Mapping[str, Any], log: Log, known: Reference | None) -> str:
    """`known` is what drift was judged by."""
    templates = Environment(
        loader=FileSystemLoader(ROOT / "infra/report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "percent": percent,
        "interval": interval,
        "ms": milliseconds,
        "number": number,
        "duration": duration,
    }
    return templates.get_template("template.html").render(
        report=report,
        pictures=pictures(report),
        distributions=list(distributions(report["drift"], log, known)),
    )


def pictures(report: Mapping[str, Any]) -> dict[str, str]:
    points, found = report["over_time"], {}
    if report["overall"]["requests"]:
        found["requests"] = charts.requests(points)
        rates = {"errors": ("error_rate",), "cold starts": ("cold_start_rate",)}
        found["rates"] = charts.lines(points, rates, percent=True)
    if report["overall"]["latency_ms"]:
        latencies = {name: ("latency_ms", name) for name in ("mean", "p50", "p95", "p99")}
        found["latency"] = charts.lines(points, latencies, log=True)
    if report["overall"]["predictions"]:
        classes = {name: ("classes", name) for name in report["overall"]["classes"]}
        found["classes"] = charts.lines([shares(point) for point in points], classes, percent=True)
        found["unknown"] = charts.lines(points, {"called unknown": ("unknown_share",)}, percent=True)
        found["confidence"] = charts.lines(points, {"mean confidence": ("confidence",)}, percent=True)
    if report["overall"]["labelled"]:
        found["accuracy"] = charts.accuracy(report["labels_over_time"])
    if report["drift"]["judged"]:
        found["distances"] = charts.distances(report["drift"]["signals"])
    return found


def shares(point: Mapping[str, Any]) -> dict[str, Any]:
    """With the classes' shares in place of their counts."""
    return {**point, "classes": {name: count / point["predictions"] for name, count in point["classes"].items()}}


def distributions(drift: Mapping[str, Any], log: Log, known: Reference | None) -> Iterator[tuple[str, bool, str]]:
    """Name, whether it drifted, and picture of each signal that is a number."""
    if known is None or not drift["judged"]:
        return
    photos = alarms.photos(log.requests, drift["model_version"])
    photos = photos.where(slice(None, None, max(1, len(photos) // SAMPLE)))
    for name in NUMBERS:
        drifted = drift["signals"][name]["drifted"]
        yield name, drifted, charts.distribution(photos[name], known.columns[name], drifted=drifted)


def percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.2f} %"


def interval(bounds: Sequence[float] | None) -> str:
    return NONE if bounds is None else f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f} %"


def milliseconds(value: float | None) -> str:
    return NONE if value is None else f"{value:,.1f}"


def duration(seconds: int) -> str:
    names = {86_400: "days", 3600: "hours", 60: "minutes"}
    unit = next(unit for unit in names if seconds % unit == 0)
    return f"{seconds // unit} {names[unit]}" if seconds > unit else names[unit].removesuffix("s")


def number(value: float | None) -> str:
    """Counts with separators, other figures with four digits."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:.4g}"
