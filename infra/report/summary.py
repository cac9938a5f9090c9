"""All of the report as one JSON value; the page, MLflow and CloudWatch show parts of it."""

from datetime import UTC, datetime
from typing import Any

from infra.report import labels, traffic, verdict
from infra.report.drift import Reference
from infra.report.records import Log

POINTS = 30  # of a line that can still be read on a phone
FEW_POINTS = 10  # for accuracy: labels are few


class Empty(Exception):
    """The log holds no request."""


def summary(log: Log, reference: Reference | None, source: str) -> dict[str, Any]:
    """Raises Empty."""
    requests, feedback = labels.join(log)
    if not len(requests):
        seen = ", ".join(f"{count} {kind}" for kind, count in log.counts.most_common() if count) or "none at all"
        raise Empty(f"{source} has no request of the function in that time (lines: {seen})")
    versions = traffic.by_version(requests)
    qualities = {version: labels.quality(table) for version, table in versions.items()}
    drift = verdict.drift(requests, reference)
    accuracy = verdict.accuracy(qualities.get(reference.model_version) if reference else None, reference)
    return {
        "source": source,
        "generated": datetime.now(UTC).isoformat(timespec="seconds"),
        "first": _time(requests["time"][0]),
        "last": _time(requests["time"][-1]),
        "services": sorted({str(service) for service in requests["service"].tolist()}),
        "lines": dict(log.counts),
        "feedback": feedback,
        "overall": traffic.figures(requests),
        "versions": {version: traffic.figures(table) for version, table in versions.items()},
        "without_reference": verdict.without_reference(requests, reference),
        "quality": {"overall": labels.quality(requests), "versions": qualities},
        "estimate": labels.estimate(requests),
        "drift": drift,
        "accuracy": accuracy,
        "alarms": verdict.alarms(drift, accuracy),
        "step_seconds": traffic.step(requests, POINTS),
        "over_time": list(traffic.over_time(requests, traffic.step(requests, POINTS))),
        "labels_over_time": list(traffic.over_time(requests, traffic.step(requests, FEW_POINTS))),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
