"""Check events of API Gateway, load balancers, warm-up plugins and schedules, and unknown events."""

import base64
import gc
import json
import logging

import pytest

from tests.lambda_app.conftest import CONTEXT

# HTTP requests, with the fields that AWS documents for each service.


def rest_api(method, path, headers, body):
    """Return an event of an API Gateway REST API."""
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": path.removeprefix("/")},
        "stageVariables": None,
        "requestContext": {
            "resourcePath": "/{proxy+}",
            "httpMethod": method,
            "path": f"/prod{path}",
            "stage": "prod",
            "identity": {"sourceIp": "192.0.2.1", "userAgent": "curl"},
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "apiId": "1234567890",
        },
        "body": body,
        "isBase64Encoded": body is not None,
    }


def http_api(method, path, headers, body):
    """Return an event of an API Gateway HTTP API, payload 2.0, which function URLs also use."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "domainName": "id.execute-api.us-east-1.amazonaws.com",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "x"},
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000",
            "timeEpoch": 1773342238000,
        },
        **({} if body is None else {"body": body}),
        "isBase64Encoded": body is not None,
    }


def load_balancer(method, path, headers, body):
    """Return an event of an Application Load Balancer."""
    group = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/pets/0123456789abcdef"
    return {
        "requestContext": {"elb": {"targetGroupArn": group}},
        "httpMethod": method,
        "path": path,
        "queryStringParameters": {},
        "headers": headers,
        "body": body or "",
        "isBase64Encoded": body is not None,
    }


def load_balancer_multi(method, path, headers, body):
    """Return an event of an Application Load Balancer with multi-value headers."""
    event = load_balancer(method, path, {}, body)
    del event["headers"], event["queryStringParameters"]
    return event | {
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "multiValueQueryStringParameters": {},
    }


SERVICES = [rest_api, http_api, load_balancer, load_balancer_multi]
HOST = {"host": "pets.example", "x-forwarded-proto": "https", "x-forwarded-port": "443"}


def predict(service, body: bytes, content_type: str):
    headers = HOST | {"content-type": content_type, "content-length": str(len(body))}
    return service("POST", "/predict", headers, base64.b64encode(body).decode())


@pytest.mark.parametrize("service", SERVICES)
def test_photo_is_classified(handler, cat_jpg, service):
    """Each service sends the photo in base64."""
    response = handler(predict(service, cat_jpg, "image/jpeg"), CONTEXT)
    assert (200, False) == (response["statusCode"], response["isBase64Encoded"])
    assert "cat" == json.loads(response["body"])["predicted_class"]
    headers = response.get("headers", {}) | response.get("multiValueHeaders", {})
    assert headers["content-type"] in ("application/json", ["application/json"])
    assert "x-request-id" in headers


@pytest.mark.parametrize("service", SERVICES)
def test_form_is_read(handler, cat_jpg, service):
    """The handler decodes and reads a form in base64."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="c.jpg"\r\n\r\n'
    response = handler(predict(service, head + cat_jpg + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"), CONTEXT)
    assert "cat" == json.loads(response["body"])["predicted_class"]


@pytest.mark.parametrize("as_base64", [True, False])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
@pytest.mark.parametrize("service", SERVICES)
def test_text_body_is_read_as_text_or_base64(handler, cat_jpg, service, content_type, as_base64):
    """JSON and data URLs are read, whether the service encodes the body or not."""
    photo = base64.b64encode(cat_jpg).decode()
    body = json.dumps({"image": photo}) if content_type == "application/json" else f"data:image/jpeg;base64,{photo}"
    event = predict(service, body.encode(), content_type)
    if not as_base64:
        event |= {"body": body, "isBase64Encoded": False}
    assert "cat" == json.loads(handler(event, CONTEXT)["body"])["predicted_class"]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_check_is_answered(handler, service, method):
    """GET and HEAD of /health work for each service."""
    response = handler(service(method, "/health", HOST, None), CONTEXT)
    assert (200, method == "GET") == (response["statusCode"], bool(response["body"]))


def test_request_id_is_that_of_lambda(handler):
    """`x-request-id` is Lambda's request id, so that the log line can be joined with Lambda's own lines."""
    response = handler(http_api("GET", "/health", HOST, None), CONTEXT)
    assert CONTEXT.aws_request_id == response["headers"]["x-request-id"]


def test_garbage_collector_is_enabled_after_the_start(handler):
    """Collections run again, and they skip the startup objects."""
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


# Pings and test events


SCHEDULED = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2026-10-08T16:53:06Z",
    "region": "us-east-1",
    "resources": ["arn:aws:events:us-east-1:123456789012:rule/warm"],
    "detail": {},
}
PINGS = [
    pytest.param({"source": "serverless-plugin-warmup"}, id="serverless-plugin-warmup"),
    pytest.param({"warmer": True, "concurrency": 1}, id="lambda-warmer"),
    pytest.param({"warmup": True}, id="warmup"),
    pytest.param({"ping": 1}, id="ping"),
    pytest.param(SCHEDULED, id="EventBridge"),
    pytest.param({}, id="an empty test event"),
    pytest.param(None, id="no event"),
    pytest.param({"key1": "value1", "key2": "value2", "key3": "value3"}, id="the console's hello-world"),
]


@pytest.mark.parametrize("event", PINGS)
def test_ping_is_answered_without_a_log_line(handler, entry_point, capsys, caplog, event):
    """The answer is a small dictionary, and the log has no line at level INFO."""
    with caplog.at_level(logging.INFO):
        response = handler(event, CONTEXT)
    assert {"status": "warm", "model_version": entry_point.app.version} == json.loads(json.dumps(response))
    assert ([], "") == (caplog.messages, capsys.readouterr().out)


def test_ping_counts_as_the_cold_start(handler, entry_point):
    """The next request is not counted as a cold start."""
    entry_point.app.state.telemetry.cold_start = True
    handler({"warmer": True}, CONTEXT)
    assert not entry_point.app.state.telemetry.cold_start


# Other events


@pytest.mark.parametrize(
    ("event", "description"),
    [
        ({"Records": [{"eventSource": "aws:s3", "s3": {}}]}, "the fields Records"),
        ({"source": "aws.s3", "detail": {}}, "the fields detail, source"),
        ({"warmer": False}, "the fields warmer"),
        ({"image": "x"}, "the fields image"),
        ([1], "the type list"),
        ("text", "the type str"),
    ],
)
def test_unknown_event_is_an_error_without_a_traceback(handler, event, description):
    """The error names the fields of the event, what is expected, and the request id."""
    error = json.loads(json.dumps(handler(event, CONTEXT)))["error"]
    assert ("bad_event", CONTEXT.aws_request_id) == (error["code"], error["request_id"])
    assert f"the event has {description}; expected an HTTP request" in error["message"]


@pytest.mark.parametrize(
    "event",
    [
        {"requestContext": {}},
        {"requestContext": {"connectionId": "x", "eventType": "CONNECT"}},  # a WebSocket API's
        {"version": "2.0", "requestContext": {"http": {}}},
        http_api("POST", "/predict", HOST, "abcde"),
        load_balancer("GET", "/health", HOST, None) | {"headers": None},
    ],
)
def test_unreadable_request_is_400(handler, event):
    """The answer is an HTTP response in the usual error shape."""
    response = handler(event, CONTEXT)
    assert (400, "application/json") == (response["statusCode"], response["headers"]["content-type"])
    error = json.loads(response["body"])["error"]
    assert {"code", "message", "request_id"} == set(error)
    assert "cannot be read as an HTTP request" in error["message"]
