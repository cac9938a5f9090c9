"""Lambda's entry point: function URL events (payload 2.0) in, proxy responses out, on the released model."""

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


def test_the_bundled_cat_is_a_cat(handler, cat_jpg):
    """A function URL event with the photo as body gives a proxy response with JSON text."""
    response = handler(predict(cat_jpg, "image/jpeg"), CONTEXT)
    assert (200, False) == (response["statusCode"], response["isBase64Encoded"])
    assert "application/json" == response["headers"]["content-type"]
    assert "cat" == json.loads(response["body"])["predicted_class"]


def test_a_multipart_event_is_read(handler, cat_jpg):
    """Browsers and curl -F send forms, which arrive as base64."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="c.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    response = handler(predict(head + cat_jpg + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"), CONTEXT)
    assert "cat" == json.loads(response["body"])["predicted_class"]


def test_lambdas_request_id_is_used(handler):
    """So that the platform's REPORT line and the handler's own can be joined."""
    response = handler(event("health"), CONTEXT)
    assert CONTEXT.aws_request_id == response["headers"]["x-request-id"]


@pytest.mark.parametrize("name", ["root", "health", "model_info", "metrics", "prediction_log"])
def test_every_get_route_answers_its_event(handler, name):
    """The routes work behind Mangum as they do behind uvicorn."""
    assert 200 == handler(event(name), CONTEXT)["statusCode"]


def test_feedback_is_taken(handler):
    """A POST whose body is JSON text arrives as it was sent."""
    answer = handler(event("feedback"), CONTEXT)
    assert (200, "cat") == (answer["statusCode"], json.loads(answer["body"])["label"])


def test_an_unknown_path_is_json(handler):
    """404 in the one error shape."""
    missing = event("health")
    missing["rawPath"] = missing["requestContext"]["http"]["path"] = "/nowhere"
    response = handler(missing, CONTEXT)
    assert (404, "not_found") == (response["statusCode"], json.loads(response["body"])["error"]["code"])


def test_a_body_that_is_no_photo_is_the_clients_error(handler):
    """Text under an image's content type is 415, not a function error."""
    response = handler(predict(b"text", "image/jpeg"), CONTEXT)
    assert (415, "unsupported_image") == (response["statusCode"], json.loads(response["body"])["error"]["code"])


def test_the_garbage_collector_is_back_after_the_start(handler):
    """It was off for the imports; what they made is never looked at again."""
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
