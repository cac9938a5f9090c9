"""How loaded and how fast: rates, latencies, classes and confidence, of any part of the requests."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from infra.report.log_reader import Column, Table

# Seconds: what a clock or a calendar shows, from a minute to a week.
STEPS = (60, 300, 900, 3600, 3 * 3600, 6 * 3600, 86_400, 7 * 86_400)
RECENT = 100  # lines


def figures(requests: Table) -> dict[str, Any]:
    """Of every request the rates; of the predictions classes and confidence, and latency where a photo came alone."""
    predictions = requests.having("predicted_class")
    failed = _known(requests["status"]) >= 400
    return {
        "requests": len(failed),
        "errors": int(failed.sum()),
        "error_rate": _mean(failed),
        "error_codes": dict(Counter(requests.having("error_code")["error_code"].tolist()).most_common()),
        "cold_start_rate": _mean(_known(requests["cold_start"])),
        "predictions": len(predictions),
        "latency_ms": _latency(_known(predictions["total_ms"])),
        "classes": dict(sorted(Counter(predictions["predicted_class"].tolist()).items())),
        "confidence": _mean(predictions["confidence"]),
        "unknown_share": _mean(predictions["unknown"]),
    }


def serving(requests: Table) -> str | None:
    """The version of most of the last lines: after a rollback the older one, while a canary runs the one before."""
    last = Counter(requests["model_version"][-RECENT:].tolist()).most_common(1)
    return str(last[0][0]) if last else None


def by_version(table: Table) -> dict[str, Table]:
    """Oldest first."""
    versions = dict.fromkeys(table["model_version"].tolist())
    return {str(version): table.where(table["model_version"] == version) for version in versions}


def step(table: Table, points: int) -> int:
    """Seconds of each of at most so many points in time, or a week."""
    seconds = np.ptp(table["time"]) if len(table) else 0
    return next((step for step in STEPS if seconds / step < points), STEPS[-1])


def over_time(table: Table, points: int, of: Callable[[Table], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The figures `of` each version in each step that has any."""
    width = step(table, points)
    for version, part in by_version(table).items():
        place = part["time"] // width
        starts = np.flatnonzero(np.diff(place, prepend=-1))
        for first, last in zip(starts, [*starts[1:], len(part)], strict=True):
            begin, end = (
                datetime.fromtimestamp(at * width, UTC).isoformat() for at in (place[first], place[first] + 1)
            )
            yield {"from": begin, "to": end, "model_version": version, **of(part.where(slice(first, last)))}


def _known(values: Column) -> Column:
    """A photo that came with others has no status, cold start or latency of its own."""
    return values[np.isfinite(values)]


def _mean(values: Column) -> float | None:
    return float(values.mean()) if len(values) else None


def _latency(milliseconds: Column) -> dict[str, float] | None:
    if not len(milliseconds):
        return None
    p50, p95, p99 = np.percentile(milliseconds, (50, 95, 99))
    return {"mean": float(milliseconds.mean()), "p50": float(p50), "p95": float(p95), "p99": float(p99)}
