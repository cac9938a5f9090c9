"""Compute rates, latencies, class counts and confidence for any part of the requests."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pandas import DataFrame, Series

# Seconds, from a minute to a week: the intervals that clocks and calendars use.
STEPS = (60, 300, 900, 3600, 3 * 3600, 6 * 3600, 86_400, 7 * 86_400)
RECENT_LINES, SPLIT_LINES = 100, 10_000
CLEAR_MAJORITY = 0.7


def traffic_figures(requests: DataFrame) -> dict[str, Any]:
    """Return the rates of all requests, and the classes and confidence of the predictions.

    The latency covers the predictions of single photos: photos of a batch have no latency of their own.
    """
    predictions = requests.dropna(subset="predicted_class")
    # Photos of a batch have no status, cold start or latency of their own.
    failed = requests["status"].dropna() >= 400
    return {
        "requests": len(failed),
        "errors": int(failed.sum()),
        "error_rate": _mean(failed),
        "error_codes": dict(Counter(requests["error_code"].dropna()).most_common()),
        "cold_start_rate": _mean(requests["cold_start"].dropna()),
        "predictions": len(predictions),
        "latency_ms": _latency(predictions["total_ms"].dropna()),
        "classes": dict(sorted(Counter(predictions["predicted_class"]).items())),
        "confidence": _mean(predictions["confidence"]),
        "unknown_share": _mean(predictions["unknown"]),
    }


def serving_version(requests: DataFrame) -> str | None:
    """Return the most frequent version of the last lines.

    After a rollback this is the older version; during a canary deployment it is the previous one. If none has a clear
    majority of the last 100 lines, as in a split with similar shares, the last 10,000 decide, so that the result does
    not depend on chance.
    """
    for lines in (RECENT_LINES, SPLIT_LINES):
        recent = requests["model_version"].tail(lines)
        for version, count in Counter(recent).most_common(1):
            if lines == SPLIT_LINES or count >= CLEAR_MAJORITY * len(recent):
                return str(version)
    return None


def split_by_version(table: DataFrame) -> dict[str, DataFrame]:
    """Return the rows of each model version, oldest version first."""
    return dict(iter(table.groupby("model_version", sort=False)))


def choose_step(table: DataFrame, points: int) -> int:
    """Return the shortest of `STEPS` that divides the period into at most `points` steps, or a week if none does.

    Steps begin at round times, so the period can touch one step more.
    """
    seconds = np.ptp(table["time"]) if len(table) else 0
    return next((step for step in STEPS if seconds / step < points), STEPS[-1])


def over_time(
    table: DataFrame, points: int, compute: Callable[[DataFrame], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield the figures that `compute` returns for each version in each time step with rows."""
    width = choose_step(table, points)
    for version, part in split_by_version(table).items():
        for step, rows in part.groupby(part["time"] // width):
            begin, end = (datetime.fromtimestamp(at * width, UTC).isoformat() for at in (step, step + 1))
            yield {"from": begin, "to": end, "model_version": version, **compute(rows)}


def _mean(values: Series) -> float | None:
    return float(values.mean()) if len(values) else None


def _latency(milliseconds: Series) -> dict[str, float] | None:
    if not len(milliseconds):
        return None
    p50, p95, p99 = np.percentile(milliseconds, (50, 95, 99))
    return {"mean": float(milliseconds.mean()), "p50": float(p50), "p95": float(p95), "p99": float(p99)}
