"""Format the comparison of two versions as rows of a table, for report.html and report.md."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

NO_FIGURE = "–"  # noqa: RUF001  # an en dash
MAX_CLASSES = 5  # those whose shares differ most
Row = tuple[str, str, str, str]
Figures = Mapping[str, Any]


def list_rows(split: Mapping[str, Any]) -> list[Row]:
    """Return rows of measure, champion's value, challenger's value, and the difference with its interval."""
    champion, challenger = (split["figures"][split[name]] for name in ("champion", "challenger"))

    def row(title: str, name: str, show: Callable[[Any], str], difference: str | None = None) -> Row:
        values = champion[name], challenger[name]
        return title, show(values[0]), show(values[1]), _points(*values) if difference is None else difference

    differences = split["differences"]
    return [
        row("requests", "requests", "{:,}".format, f"share {format_percent(split['share'])}"),
        row("labels", "labels", "{:,}".format, ""),
        row("accuracy", "accuracy", format_percent, _interval(differences["accuracy"])),
        row("confidence of labeled photos", "labeled_confidence", format_percent),
        row("calibration error", "calibration_error", format_percent),
        row("unknown", "unknown_share", format_percent),
        *_class_rows(champion["class_shares"], challenger["class_shares"]),
        *(_latency(name, champion["latency_ms"] or {}, challenger["latency_ms"] or {}) for name in ("p50", "p99")),
        row("errors", "error_rate", format_percent),
        row("server errors", "server_error_rate", format_percent, _interval(differences["server_error_rate"])),
    ]


def _class_rows(champion: dict[str, float], challenger: dict[str, float]) -> Iterator[Row]:
    shares = {name: (champion.get(name, 0.0), challenger.get(name, 0.0)) for name in champion | challenger}
    ranked = sorted(shares.items(), key=lambda item: -abs(item[1][1] - item[1][0]))
    for name, (first, second) in ranked[:MAX_CLASSES]:
        yield f"class {name}", format_percent(first), format_percent(second), _points(first, second)


def _latency(name: str, champion: Figures, challenger: Figures) -> Row:
    first, second = champion.get(name), challenger.get(name)
    cells = [NO_FIGURE if time is None else f"{time:,.1f} ms" for time in (first, second)]
    difference = NO_FIGURE if first is None or second is None else f"{second - first:+,.1f} ms"
    return f"latency {name}", cells[0], cells[1], difference


def _interval(measured: Mapping[str, Any]) -> str:
    if measured["interval"] is None:
        return NO_FIGURE
    low, high = (f"{100 * bound:+.2f}" for bound in measured["interval"])
    return f"{100 * measured['difference']:+.2f} points ({low} to {high})"


def format_percent(share: float | None) -> str:
    return NO_FIGURE if share is None else f"{100 * share:.2f} %"


def _points(first: float | None, second: float | None) -> str:
    return NO_FIGURE if first is None or second is None else f"{100 * (second - first):+.2f} points"
