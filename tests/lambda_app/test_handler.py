"""Check Lambda's entry point with function URL events (payload 2.0) and the released model."""

import gc
import json
from datetime import UTC, datetime

import pytest

from infra.emulator.event import HttpRequest, to_event
from tests.lambda_app.conftest import CONTEXT


def event(method: str, path: str, content_type: str = "", body: bytes = b"") -> dict:
    """Return the event of a function URL."""
    headers = (("content-type", content_type),) if body else ()
    return to_event(HttpRequest(method, path, headers=headers, body=body), request_id="r", now=datetime.now(UTC))


def test_request_id_is_that_of_lambda(handler):
    """`x-request-id` is Lambda's request id, so that the log line can be joined with Lambda's own lines."""
    response = handler(event("GET", "/health"), CONTEXT)
    assert CONTEXT.aws_request_id == response["headers"]["x-request-id"]


@pytest.mark.parametrize("path", ["/", "/health", "/model/info", "/metrics", "/prediction-log"])
def test_get_route_answers_its_event(handler, path):
    """Every GET route works behind Mangum as it does behind uvicorn."""
    assert 200 == handler(event("GET", path), CONTEXT)["statusCode"]


def test_feedback_is_accepted(handler):
    """A body of JSON text arrives unchanged."""
    body = b'{"request_id": "6f9b7e2c-2f4e-4d1e-9a51-0c2f1b7a3d10", "label": "cat"}'
    response = handler(event("POST", "/feedback", "application/json", body), CONTEXT)
    assert (200, "cat") == (response["statusCode"], json.loads(response["body"])["label"])


def test_unknown_path_is_not_found(handler):
    """The response is 404 in the usual error shape."""
    response = handler(event("GET", "/nowhere"), CONTEXT)
    assert (404, "not_found") == (response["statusCode"], json.loads(response["body"])["error"]["code"])


def test_text_as_a_photo_is_unsupported(handler):
    """The response is 415 instead of a function error."""
    response = handler(event("POST", "/predict", "image/jpeg", b"text"), CONTEXT)
    assert (415, "unsupported_image") == (response["statusCode"], json.loads(response["body"])["error"]["code"])


def test_garbage_collector_is_enabled_after_the_start(handler):
    """Collections run again, and they skip the startup objects."""
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
