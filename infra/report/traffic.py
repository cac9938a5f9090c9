"""How loaded and how fast: rates, latencies, classes and confidence, of any part of the requests."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from infra.report.labels import wilson
from infra.report.records import Column, Table

# Seconds: what a clock or a calendar shows, from a minute to a week.
STEPS = (60, 300, 900, 3600, 3 * 3600, 6 * 3600, 86_400, 7 * 86_400)


def figures(requests: Table) -> dict[str, Any]:
    """Of every request the rates; of the predictions latency, classes and confidence; of the labelled ones accuracy."""
    predictions = requests.having("predicted_class")
    labelled = predictions.having("label")
    right = int((labelled["label"] == labelled["predicted_class"]).sum())
    return {
        "requests": len(requests),
        "errors": int((requests["status"] >= 400).sum()),
        "error_rate": _mean(requests["status"] >= 400),
        "error_codes": dict(Counter(requests.having("error_code")["error_code"].tolist()).most_common()),
        "cold_start_rate": _mean(requests["cold_start"]),
        "predictions": len(predictions),
        "latency_ms": _latency(predictions["total_ms"]),
        "classes": dict(sorted(Counter(predictions["predicted_class"].tolist()).items())),
        "confidence": _mean(predictions["confidence"]),
        "unknown_share": _mean(predictions["unknown"]),
        "labelled": len(labelled),
        "label_coverage": len(labelled) / len(predictions) if len(predictions) else None,
        "accuracy": right / len(labelled) if len(labelled) else None,
        "accuracy_interval": wilson(right, len(labelled)),
    }


def by_version(requests: Table) -> dict[str, Table]:
    """Oldest first."""
    versions = dict.fromkeys(requests["model_version"].tolist())
    return {str(version): requests.where(requests["model_version"] == version) for version in versions}


def step(requests: Table, points: int) -> int:
    """Seconds of each of at most so many points in time, or a week."""
    seconds = requests["time"][-1] - requests["time"][0]
    return next((step for step in STEPS if seconds / step < points), STEPS[-1])


def over_time(requests: Table, width: int) -> Iterator[dict[str, Any]]:
    """Figures of each version in each `width` seconds that have any."""
    for version, table in by_version(requests).items():
        place = table["time"] // width
        starts = np.flatnonzero(np.diff(place, prepend=-1))
        for first, last in zip(starts, [*starts[1:], len(table)], strict=True):
            begin, end = (
                datetime.fromtimestamp(at * width, UTC).isoformat() for at in (place[first], place[first] + 1)
            )
            yield {"from": begin, "to": end, "model_version": version, **figures(table.where(slice(first, last)))}


def _mean(values: Column) -> float | None:
    return float(values.mean()) if len(values) else None


def _latency(milliseconds: Column) -> dict[str, float] | None:
    if not len(milliseconds):
        return None
    p50, p95, p99 = np.percentile(milliseconds, (50, 95, 99))
    return {"mean": float(milliseconds.mean()), "p50": float(p50), "p95": float(p95), "p99": float(p99)}
