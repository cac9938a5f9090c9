"""Build the report as one JSON value. The page, MLflow and CloudWatch show parts of it."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
from pandas import DataFrame

from infra.report import alarms, label_metrics, split_comparison, traffic
from infra.report.log_reader import Log
from infra.report.reference import Reference

POINTS = 30  # per line of a chart, so that it is legible on a phone
ACCURACY_POINTS = 10  # fewer, because labels are rare


def build_report(
    log: Log,
    source: str,
    reference: Reference | None,
    baseline: Reference | None,
    since: datetime | None = None,
) -> dict[str, Any]:
    """Return the report of a log, whose period begins at `since` or with the first line.

    `reference` contains the test photos of the serving version. `baseline` contains the photos that its traffic is
    compared with.
    """
    requests, serving = log.requests, traffic.serving_version(log.requests)
    labeled, feedback = label_metrics.join_feedback(log)
    quality = measure_quality(labeled)
    drift = alarms.judge_drift(requests, serving, baseline)
    accuracy = alarms.judge_accuracy(quality["versions"].get(serving), serving, reference)
    return {
        **describe_log(log, source),
        "feedback": feedback,
        "serving": serving,
        "reference": reference is not None,
        **count_traffic(requests, labeled),
        "quality": quality,
        "estimate": label_metrics.estimate_accuracy(requests, labeled),
        "split": split_comparison.compare_versions(requests, labeled, serving, since),
        **summarize_judgments(drift, accuracy),
        "step_seconds": traffic.choose_step(requests, POINTS),
        "over_time": list(traffic.over_time(requests, POINTS, traffic.traffic_figures)),
        "labels_over_time": list(traffic.over_time(labeled, ACCURACY_POINTS, label_metrics.accuracy_figures)),
    }


def describe_log(log: Log, source: str) -> dict[str, Any]:
    """Return the source, the period and the services of the log, and its number of lines of each kind."""
    times = log.requests["time"]
    return {
        "source": source,
        "generated": datetime.now(UTC).isoformat(timespec="seconds"),
        "first": _format_time(times.iloc[0]) if len(times) else None,
        "last": _format_time(times.iloc[-1]) if len(times) else None,
        "services": sorted(set(log.requests["service"])),
        "lines": dict(log.counts),
    }


def measure_quality(labeled: DataFrame) -> dict[str, Any]:
    """Return the classification metrics of all labeled photos, and of those of each version."""
    versions = traffic.split_by_version(labeled)
    return {
        "overall": label_metrics.classification_metrics(labeled),
        "versions": {version: label_metrics.classification_metrics(table) for version, table in versions.items()},
    }


def count_traffic(requests: DataFrame, labeled: DataFrame) -> dict[str, Any]:
    """Return the figures of all traffic, and those of each version."""
    versions = dict.fromkeys([*requests["model_version"], *labeled["model_version"]])
    return {
        "overall": _figures(requests, labeled),
        "versions": {
            version: _figures(*(table[table["model_version"] == version] for table in (requests, labeled)))
            for version in versions
        },
    }


def summarize_judgments(drift: dict[str, Any], accuracy: dict[str, Any]) -> dict[str, Any]:
    """Return the judgments, the alarms that fire, and whether and why to retrain."""
    retrain, reason = alarms.decide_retraining(drift, accuracy)
    return {
        "drift": drift,
        "accuracy": accuracy,
        "alarms": alarms.list_alarms(drift, accuracy),
        "retrain": retrain,
        "retrain_reason": reason,
    }


def _figures(requests: DataFrame, labeled: DataFrame) -> dict[str, Any]:
    """Return all figures of a part of the traffic.

    Labels count at the time they arrive. The label coverage counts only predictions of the window.
    """
    ids = requests.dropna(subset="predicted_class")["id"]
    coverage = float(np.isin(ids, labeled["id"]).mean()) if len(ids) else None
    return traffic.traffic_figures(requests) | label_metrics.accuracy_figures(labeled) | {"label_coverage": coverage}


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
