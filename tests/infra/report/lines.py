"""Build log lines as the function writes them, with fields that a test can override, and name the metrics of them."""

import json
from datetime import timedelta
from uuid import UUID

from infra.report.benchmark import BEGIN, common_fields
from lambda_app.signals import SIGNALS

# The metrics of the report about the serving version, if it has labels.
REPORT_METRICS = {
    *("Accuracy", "AccuracyLowerBound", "AccuracyUpperBound", "AccuracyLimit"),
    *("EstimatedAccuracy", "LabelCoverage", "DriftedSignals", "Reference"),
}
SERVICE = {"service": "pet-classifier", "model_version": "1"}


def request_id(number):
    return str(UUID(int=number))


def request(number, **fields):
    """Return the line of a request, `number` minutes after BEGIN. A field of None is removed."""
    line = common_fields("request", SERVICE, request_id(number), BEGIN + timedelta(minutes=number))
    line |= {"method": "POST", "route": "/predict", "status": 200, "cold_start": False, "total_ms": 12.5}
    return json.dumps({name: value for name, value in (line | fields).items() if value is not None})


def prediction(number, **fields):
    """Return the line of a request with a prediction."""
    answer = {"predicted_class": "cat", "confidence": 0.99, "unknown": False, "photo_format": "JPEG"}
    photo = {"photo_bytes": 10_000, "photo_width": 300, "photo_height": 200}
    return request(number, **answer | photo | dict.fromkeys(SIGNALS, 0.5) | fields)


def part(number, **fields):
    """Return the line of a photo in a batch, which has no fields of the request."""
    request_fields = dict.fromkeys(("method", "route", "status", "cold_start", "total_ms"))
    return prediction(number, message="prediction", batch_id=request_id(0), **request_fields | fields)


def feedback(number, label="cat", *, later=60, **fields):
    """Return the line of feedback on request `number`, `later` minutes after it."""
    line = common_fields("feedback", SERVICE, request_id(10**6 + number), BEGIN + timedelta(minutes=number + later))
    return json.dumps(line | {"feedback_for": request_id(number), "label": label} | fields)


def dark(lines):
    """Yield the lines with half the brightness."""
    for line in map(json.loads, lines):
        yield json.dumps(line | ({"brightness": line["brightness"] / 2} if "brightness" in line else {}))
