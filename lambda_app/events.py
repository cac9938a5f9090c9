"""Answer events other than HTTP requests: warm-up pings, test events and unknown events."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from lambda_app.error_responses import error_body
from lambda_app.telemetry.request_log import Telemetry

WARM_UP_SOURCES = {"serverless-plugin-warmup", "aws.events", "aws.scheduler"}
WARM_UP_KEYS = ("warmer", "warmup", "ping")  # of lambda-warmer and similar plugins
HELLO_WORLD = {"key1", "key2", "key3"}  # the default test event of Lambda's console
EXPECTED = "expected an HTTP request from a function URL, API Gateway or Application Load Balancer, or a warm-up ping"


def answer(event: Any, context: Any, app: FastAPI, problem: Exception | None = None) -> dict[str, Any]:
    """Return a small answer to a ping, and an error for any other event.

    `problem` is set if the event is an HTTP request that cannot be read; the error is then an HTTP response.
    """
    telemetry: Telemetry = app.state.telemetry
    if problem is None and is_ping(event):
        telemetry.logger.debug("warm-up")
        telemetry.cold_start = False  # the ping paid for the cold start
        return {"status": "warm", "model_version": app.version}
    request_id = getattr(context, "aws_request_id", None) or str(uuid.uuid4())
    telemetry.logger.warning("event not understood", extra={"request_id": request_id})
    if problem is None:
        return error_body("bad_event", f"the event has {_describe(event)}; {EXPECTED}", request_id)
    message = f"the event cannot be read as an HTTP request ({type(problem).__name__}: {problem}); {EXPECTED}"
    return {
        "statusCode": 400,
        "headers": {"content-type": "application/json", "x-content-type-options": "nosniff"},
        "body": json.dumps(error_body("bad_event", message, request_id)),
        "isBase64Encoded": False,
    }


def is_ping(event: Any) -> bool:
    """Return whether the event is a warm-up ping, or an empty or default test event."""
    if not isinstance(event, Mapping):
        return event is None
    return (
        not event
        or event.get("source") in WARM_UP_SOURCES
        or any(event.get(key) for key in WARM_UP_KEYS)
        or set(event) == HELLO_WORLD
    )


def _describe(event: Any) -> str:
    if not isinstance(event, Mapping):
        return f"the type {type(event).__name__}"
    return f"the fields {', '.join(sorted(map(str, event)))[:200]}"
