"""All of the report as one JSON value; the page, MLflow and CloudWatch show parts of it."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from infra.report import alarms, label_metrics, traffic
from infra.report.drift import Reference
from infra.report.log_reader import Log, Table

POINTS = 30  # of a line that can still be read on a phone
FEW_POINTS = 10  # for accuracy: labels are few


def summary(log: Log, source: str, reference: Reference | None, known: Reference | None) -> dict[str, Any]:
    """`reference` are the test photos of the version that serves, `known` what its traffic should be like."""
    requests, serving = log.requests, traffic.serving(log.requests)
    labelled, feedback = label_metrics.join(log)
    qualities = {version: label_metrics.quality(table) for version, table in traffic.by_version(labelled).items()}
    drift = alarms.drift(requests, serving, known)
    accuracy = alarms.accuracy(qualities.get(serving or ""), serving, reference)
    retrain, reason = alarms.retrain(drift, accuracy)
    return {
        "source": source,
        "generated": datetime.now(UTC).isoformat(timespec="seconds"),
        "first": _time(requests["time"][0]) if len(requests) else None,
        "last": _time(requests["time"][-1]) if len(requests) else None,
        "services": sorted({str(service) for service in requests["service"].tolist()}),
        "lines": dict(log.counts),
        "feedback": feedback,
        "serving": serving,
        "reference": reference is not None,
        "overall": _figures(requests, labelled),
        "versions": {
            version: _figures(*(table.where(table["model_version"] == version) for table in (requests, labelled)))
            for version in traffic.by_version(requests) | qualities
        },
        "quality": {"overall": label_metrics.quality(labelled), "versions": qualities},
        "estimate": label_metrics.estimate(requests, labelled),
        "drift": drift,
        "accuracy": accuracy,
        "alarms": alarms.alarms(drift, accuracy),
        "retrain": retrain,
        "retrain_reason": reason,
        "step_seconds": traffic.step(requests, POINTS),
        "over_time": list(traffic.over_time(requests, POINTS, traffic.figures)),
        "labels_over_time": list(traffic.over_time(labelled, FEW_POINTS, label_metrics.figures)),
    }


def _figures(requests: Table, labelled: Table) -> dict[str, Any]:
    """A label counts when it comes; of the predictions that are labelled, only those of the window are a share."""
    predictions = requests.having("predicted_class")["id"]
    coverage = float(np.isin(predictions, labelled["id"]).mean()) if len(predictions) else None
    return traffic.figures(requests) | label_metrics.figures(labelled) | {"label_coverage": coverage}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
