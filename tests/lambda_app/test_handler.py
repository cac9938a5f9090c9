"""Check Lambda's entry point with function URL events (payload 2.0) and the released model."""

import base64
import gc
import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

EVENTS = Path(__file__).parent.parent / "events"
pytestmark = pytest.mark.usefixtures("event_loop")
CONTEXT = SimpleNamespace(aws_request_id="11111111-2222-3333-4444-555555555555")


@pytest.fixture(scope="module")
def handler():
    return importlib.import_module("lambda_app.handler").handler


def event(name: str, **changes) -> dict:
    return json.loads((EVENTS / f"{name}.json").read_text()) | changes


def predict(body: bytes, content_type: str) -> dict:
    base = event("predict")
    headers = base["headers"] | {"content-type": content_type, "content-length": str(len(body))}
    return base | {"headers": headers, "body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def test_photo_is_classified(handler, cat_jpg):
    """The answer to an event with a photo as its body is a proxy response with JSON text."""
    response = handler(predict(cat_jpg, "image/jpeg"), CONTEXT)
    assert (200, False) == (response["statusCode"], response["isBase64Encoded"])
    assert "application/json" == response["headers"]["content-type"]
    assert "cat" == json.loads(response["body"])["predicted_class"]


def test_form_is_read(handler, cat_jpg):
    """Browsers and curl -F send forms, which arrive as base64."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="c.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    response = handler(predict(head + cat_jpg + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"), CONTEXT)
    assert "cat" == json.loads(response["body"])["predicted_class"]


def test_request_id_is_that_of_lambda(handler):
    """The id joins the handler's log line with Lambda's own lines."""
    response = handler(event("health"), CONTEXT)
    assert CONTEXT.aws_request_id == response["headers"]["x-request-id"]


@pytest.mark.parametrize("name", ["root", "health", "model_info", "metrics", "prediction_log"])
def test_get_route_answers_its_event(handler, name):
    """Every GET route works behind Mangum as it does behind uvicorn."""
    assert 200 == handler(event(name), CONTEXT)["statusCode"]


def test_feedback_is_accepted(handler):
    """A body of JSON text arrives unchanged."""
    answer = handler(event("feedback"), CONTEXT)
    assert (200, "cat") == (answer["statusCode"], json.loads(answer["body"])["label"])


def test_unknown_path_is_not_found(handler):
    """The response is 404 in the usual error shape."""
    missing = event("health")
    missing["rawPath"] = missing["requestContext"]["http"]["path"] = "/nowhere"
    response = handler(missing, CONTEXT)
    assert (404, "not_found") == (response["statusCode"], json.loads(response["body"])["error"]["code"])


def test_text_as_a_photo_is_unsupported(handler):
    """The response is 415 instead of a function error."""
    response = handler(predict(b"text", "image/jpeg"), CONTEXT)
    assert (415, "unsupported_image") == (response["statusCode"], json.loads(response["body"])["error"]["code"])


def test_garbage_collector_is_enabled_after_the_start(handler):
    """Collections run again, and they skip the startup objects."""
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
