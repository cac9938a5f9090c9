"""Test the function URL over real sockets, in front of `invoke_api.py`.

A real Invoke API cannot be made to fail, hang or return 7 MB. `test_runtime.py` uses the real one.
"""

import base64
import logging
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.emulator.event import MAX_PAYLOAD_BYTES
from infra.emulator.function_url import create_app
from infra.emulator.invoke import invoke_url
from infra.emulator.serve import background, with_cors
from tests.infra.invoke_api import InvokeApi, serve_invoke_api
from tests.support import ROOT
from tests.support.http_server import JPEG, get, refusing_url
from tests.support.waiting import DEADLINE_S, acquire

SITE = "https://pets.example"
A_MOMENT_S = 0.2  # in which no invocation may start: a test never fails wrongly if it is too short


@pytest.fixture
def api() -> Iterator[InvokeApi]:
    with serve_invoke_api() as api:
        yield api


class CountingApp:
    """Wrap the function URL and count complete requests with a semaphore."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.arrived = app, threading.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_and_count() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                self.arrived.release()
            return message

        await self.app(scope, receive_and_count, send)


@pytest.fixture
def app(api: InvokeApi) -> CountingApp:
    return CountingApp(create_app(invoke_url(api.endpoint)))


@pytest.fixture
def url(app: CountingApp) -> Iterator[str]:
    with background(app) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, trust_env=False, timeout=DEADLINE_S) as client:
        yield client


def assert_error(response: httpx2.Response, status: int, code: str) -> None:
    error = response.json()["error"]
    assert {"code", "message", "request_id"} == set(error)
    assert (status, code) == (response.status_code, error["code"])


def test_request_becomes_event(api: InvokeApi, client: httpx2.Client) -> None:
    """Path, query and cookies reach the function as the client sent them."""
    client.get("/a%2Fb%20c?k=1&k=%C3%BC", headers={"Cookie": "a=1; b=2"})
    event = api.events[0]
    assert ("/a%2Fb%20c", "k=1&k=%C3%BC") == (event["rawPath"], event["rawQueryString"])
    assert ({"k": "1,ü"}, ["a=1", "b=2"]) == (event["queryStringParameters"], event["cookies"])


def test_function_is_invoked_by_name(api: InvokeApi) -> None:
    """The function's name or ARN is part of the Invoke API's path."""
    with background(create_app(invoke_url(f"{api.endpoint}/", "arn:aws:lambda:x"))) as url:
        get(url)
    assert api.paths == ["/2015-03-31/functions/arn%3Aaws%3Alambda%3Ax/invocations"]


def test_payload_becomes_response(api: InvokeApi, client: httpx2.Client) -> None:
    """The response has the function's status, headers and body."""
    api.returns(statusCode=418, headers={"Content-Type": "text/plain", "X-A": "b"}, body="tü")
    response = client.get("/")
    assert (418, "b", "tü") == (response.status_code, response.headers["x-a"], response.text)


def test_binary_response_body_arrives(api: InvokeApi, client: httpx2.Client) -> None:
    """A base64 body reaches the client decoded, with its length."""
    api.returns(statusCode=200, body=base64.b64encode(JPEG).decode(), isBase64Encoded=True)
    response = client.get("/")
    assert (JPEG, str(len(JPEG))) == (response.content, response.headers["content-length"])


def test_each_cookie_is_header(api: InvokeApi, client: httpx2.Client) -> None:
    """Each cookie becomes its own Set-Cookie header."""
    api.returns(statusCode=200, cookies=["a=1; Path=/", "b=2"])
    assert client.get("/").headers.get_list("set-cookie") == ["a=1; Path=/", "b=2"]


@pytest.mark.parametrize(
    ("method", "answer", "length", "body"),
    [
        ("HEAD", {"body": "12345"}, "5", ""),
        ("HEAD", {"headers": {"content-length": "12345"}}, "12345", ""),  # without a body, the function's is kept
        ("GET", {"body": "12345", "headers": {"Content-Length": "3"}}, "5", "12345"),
        ("GET", {"statusCode": 204, "body": "12345"}, None, ""),
    ],
)
def test_length_matches_the_body(
    api: InvokeApi, client: httpx2.Client, method: str, answer: dict[str, Any], length: str | None, body: str
) -> None:
    """The length is the body's, whatever the function sets; HEAD has it without the body, and 204 has neither."""
    api.returns(**{"statusCode": 200} | answer)
    response = client.request(method, "/")
    assert (length, body) == (response.headers.get("content-length"), response.text)


@pytest.mark.parametrize("size", [5_000_000, 7_000_000])
def test_request_over_limit_gets_413(api: InvokeApi, client: httpx2.Client, size: int) -> None:
    """A request of more than 6 MB in base64 gets 413 and does not reach the function."""
    response = client.post("/predict", content=bytes(size), headers={"content-type": "image/jpeg"})
    assert_error(response, 413, "too_large")
    assert [] == api.events


def test_response_over_limit_gets_502(api: InvokeApi, client: httpx2.Client) -> None:
    """A response of more than 6 MB gets 502, as on AWS."""
    api.returns(statusCode=200, body="x" * MAX_PAYLOAD_BYTES)
    assert_error(client.get("/"), 502, "bad_response")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        # AWS marks a function error with a header: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
        ({"headers": {"X-Amz-Function-Error": "Unhandled"}}, "function_error"),
        ({"payload": b'{"errorType": "ValueError"}'}, "function_error"),  # as the Runtime Interface Emulator does
        ({"payload": b"Task timed out after 3.00 seconds"}, "bad_response"),
        ({"status": 404, "payload": b'{"Message": "Function not found"}'}, "function_unreachable"),
    ],
)
def test_failed_invocation_gets_502(api: InvokeApi, client: httpx2.Client, answer: dict[str, Any], code: str) -> None:
    """An error of the function, a payload that is not JSON, and an unknown function get 502."""
    vars(api).update(answer)
    assert_error(client.get("/"), 502, code)


def test_function_error_is_logged_not_sent(
    api: InvokeApi, client: httpx2.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The client does not see the function's error; the log has it with the request ID."""
    api.returns(errorType="ValueError", errorMessage="secret")
    with caplog.at_level(logging.WARNING):
        error = client.get("/").json()["error"]
    assert error["message"] == "Internal Server Error"
    assert error["request_id"] in caplog.text
    assert "secret" in caplog.text


def test_unreachable_endpoint_gets_502() -> None:
    """A refused connection gets 502."""
    with refusing_url() as endpoint, background(create_app(invoke_url(endpoint))) as url:
        assert_error(get(url), 502, "function_unreachable")


def test_hanging_endpoint_gets_502(api: InvokeApi) -> None:
    """An endpoint that does not answer within the timeout gets 502."""
    api.released.clear()
    with background(create_app(invoke_url(api.endpoint), timeout_s=0.1)) as url:
        assert_error(get(url), 502, "function_unreachable")


def test_invocations_run_one_after_the_other(api: InvokeApi) -> None:
    """Concurrent requests wait for each other's invocations."""
    api.released.clear()
    app = CountingApp(create_app(invoke_url(api.endpoint)))
    with background(app) as url, ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(get, url) for _ in range(3)]
        acquire(app.arrived, 3)
        acquire(api.started)
        another_started = api.started.acquire(timeout=A_MOMENT_S)
        api.released.set()
        statuses = [answer.result().status_code for answer in answers]
    assert ([200, 200, 200], False, 1) == (statuses, another_started, api.most_running)


def send_raw(url: str, text: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(text.encode())
    return connection


def test_incomplete_request_is_not_invoked(api: InvokeApi, url: str, client: httpx2.Client) -> None:
    """A request whose client disconnects is not invoked, and the next one is served."""
    send_raw(url, "POST /left HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc").close()
    client.get("/next")
    assert [event["rawPath"] for event in api.events] == ["/next"]


def test_invocation_of_disconnected_client_completes(api: InvokeApi, app: CountingApp, url: str) -> None:
    """An invocation whose client disconnected completes before the next: the emulator cannot be interrupted."""
    api.released.clear()
    connection = send_raw(url, "GET /left HTTP/1.1\r\nHost: x\r\n\r\n")
    acquire(api.started)
    connection.close()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(get, f"{url}/next")
        acquire(app.arrived, 2)
        another_started = api.started.acquire(timeout=A_MOMENT_S)
        api.released.set()
        assert following.result().status_code == 200
    assert (False, 1) == (another_started, api.most_running)
    assert ["/left", "/next"] == [event["rawPath"] for event in api.events]


def test_emulator_allows_cors_of_template() -> None:
    """The emulator allows the methods and headers that template.yaml allows."""
    template = (ROOT / "template.yaml").read_text()
    client = TestClient(with_cors(create_app(invoke_url("http://no-function.invalid")), SITE))
    response = client.options("/predict", headers={"origin": SITE, "access-control-request-method": "POST"})
    for name in ("Methods", "Headers"):
        allowed = re.search(rf"Allow{name}: \[(.*)\]", template)[1].split(", ")
        assert set(allowed) <= set(response.headers[f"access-control-allow-{name.lower()}"].split(", "))
