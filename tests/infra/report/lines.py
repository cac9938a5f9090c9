"""Log lines as the function writes them, with what a test wants to differ."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

from infra.report.log_reader import SIGNALS

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)


def request_id(number):
    return str(UUID(int=number))


def request(number, **fields):
    """The `number`-th request, a minute after the one before; `None` removes a field."""
    line = {
        "level": "INFO",
        "message": "request",
        "timestamp": (BEGIN + timedelta(minutes=number)).isoformat(timespec="milliseconds"),
        "service": "pet-classifier",
        "request_id": request_id(number),
        "method": "POST",
        "route": "/predict",
        "status": 200,
        "cold_start": False,
        "model_version": "1",
        "total_ms": 12.5,
    }
    return json.dumps({name: value for name, value in (line | fields).items() if value is not None})


def prediction(number, **fields):
    """That request, answered with a class."""
    answer = {"predicted_class": "cat", "confidence": 0.99, "unknown": False, "photo_format": "JPEG"}
    photo = {"photo_bytes": 10_000, "photo_width": 300, "photo_height": 200}
    return request(number, **answer | photo | dict.fromkeys(SIGNALS, 0.5) | fields)


def part(number, **fields):
    """That photo, had it come with others: the line says nothing of the request."""
    of_the_request = dict.fromkeys(("method", "route", "status", "cold_start", "total_ms"))
    return prediction(number, message="prediction", batch_id=request_id(0), **of_the_request | fields)


def feedback(number, label="cat", *, later=60, **fields):
    """What the photo of the `number`-th request showed, told so many minutes later."""
    line = {
        "message": "feedback",
        "timestamp": (BEGIN + timedelta(minutes=number + later)).isoformat(timespec="milliseconds"),
        "service": "pet-classifier",
        "model_version": "1",
        "request_id": request_id(10**6 + number),
        "feedback_for": request_id(number),
        "label": label,
    }
    return json.dumps(line | fields)
