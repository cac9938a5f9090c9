"""The function URL over real sockets, in front of a small HTTP server that plays Lambda's Invoke API.

It is not the real one here: an Invoke API that errs, lies, hangs or answers 7 MB cannot be had on demand from a real
one. `test_runtime.py` has the real one.
"""

import base64
import contextlib
import json
import logging
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.emulator.event import MAX_PAYLOAD_BYTES
from infra.emulator.function_url import create_app
from infra.emulator.invoke import invoke_url
from infra.emulator.serve import background

JPEG = bytes(range(256)) * 4
ROOT = Path(__file__).parents[2]
PATIENCE_S = 600
A_MOMENT_S = 0.2  # in which nothing may happen


@dataclass
class InvokeApi:
    """Answers every invocation with `payload` once `released` is set, and remembers what it was asked."""

    endpoint: str = ""
    payload: bytes = b'{"statusCode": 200}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    sent_headers: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    running: int = 0
    most_running: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    started: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def returns(self, **answer: Any) -> None:
        self.payload = json.dumps(answer).encode()


@pytest.fixture
def api() -> Iterator[InvokeApi]:
    api = InvokeApi()
    api.released.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            api.paths.append(self.path)
            api.sent_headers.append({name.lower(): value for name, value in self.headers.items()})
            api.events.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            with api.lock:
                api.running += 1
                api.most_running = max(api.running, api.most_running)
            api.started.release()
            api.released.wait()
            with api.lock:
                api.running -= 1
            self.send_response(api.status)
            for name, value in {**api.headers, "Content-Length": str(len(api.payload))}.items():
                self.send_header(name, value)
            with contextlib.suppress(OSError):  # who asked has left
                self.end_headers()
                self.wfile.write(api.payload)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        api.endpoint = f"http://127.0.0.1:{server.server_port}"
        yield api
        api.released.set()
        server.shutdown()
        thread.join()


class Watched:
    """The function URL, and a semaphore that counts the requests that came in whole."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.arrived = app, threading.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                self.arrived.release()
            return message

        await self.app(scope, watched, send)


@pytest.fixture
def app(api: InvokeApi) -> Watched:
    return Watched(create_app(invoke_url(api.endpoint)))


@pytest.fixture
def url(app: Watched) -> Iterator[str]:
    with background(app) as url:
        yield url


def get(url: str) -> httpx2.Response:
    return httpx2.get(url, trust_env=False, timeout=PATIENCE_S)


def wait_for(semaphore: threading.Semaphore, count: int = 1) -> None:
    assert all(semaphore.acquire(timeout=PATIENCE_S) for _ in range(count))


@pytest.fixture
def client(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, trust_env=False, timeout=PATIENCE_S) as client:
        yield client


def assert_error(response: httpx2.Response, status: int, code: str) -> None:
    error = response.json()["error"]
    assert {"code", "message", "request_id"} == set(error)
    assert (status, code) == (response.status_code, error["code"])


def test_request_becomes_an_event(api: InvokeApi, client: httpx2.Client) -> None:
    """Path, query and cookies of a real request arrive as the client wrote them."""
    client.get("/a%2Fb%20c?k=1&k=%C3%BC", headers={"Cookie": "a=1; b=2"})
    event = api.events[0]
    assert ("/a%2Fb%20c", "k=1&k=%C3%BC") == (event["rawPath"], event["rawQueryString"])
    assert ({"k": "1,ü"}, ["a=1", "b=2"]) == (event["queryStringParameters"], event["cookies"])


def test_repeated_headers_arrive_joined(api: InvokeApi, client: httpx2.Client) -> None:
    """Header lines with one name arrive as one, with commas."""
    client.get("/", headers=[("X-A", "1"), ("x-a", "2")])
    assert api.events[0]["headers"]["x-a"] == "1,2"


def test_binary_request_body(api: InvokeApi, client: httpx2.Client) -> None:
    """A photo reaches the function byte by byte."""
    client.post("/predict", content=JPEG, headers={"content-type": "image/jpeg"})
    assert JPEG == base64.b64decode(api.events[0]["body"])


def test_function_is_invoked_by_name(api: InvokeApi) -> None:
    """The name, or ARN, goes into the path of Lambda's Invoke API."""
    with background(create_app(invoke_url(f"{api.endpoint}/", "arn:aws:lambda:x"))) as url:
        get(url)
    assert api.paths == ["/2015-03-31/functions/arn%3Aaws%3Alambda%3Ax/invocations"]


def test_answer_becomes_a_response(api: InvokeApi, client: httpx2.Client) -> None:
    """Status, headers and body are the function's."""
    api.returns(statusCode=418, headers={"Content-Type": "text/plain", "X-A": "b"}, body="tea")
    response = client.get("/")
    assert (418, "b", "tea") == (response.status_code, response.headers["x-a"], response.text)


def test_binary_response_body(api: InvokeApi, client: httpx2.Client) -> None:
    """A body in base64 reaches the client as the bytes it stands for, with their length."""
    api.returns(statusCode=200, body=base64.b64encode(JPEG).decode(), isBase64Encoded=True)
    response = client.get("/")
    assert (JPEG, str(len(JPEG))) == (response.content, response.headers["content-length"])


def test_cookies_of_the_answer(api: InvokeApi, client: httpx2.Client) -> None:
    """Each cookie is a Set-Cookie header of its own."""
    api.returns(statusCode=200, cookies=["a=1; Path=/", "b=2"])
    assert client.get("/").headers.get_list("set-cookie") == ["a=1; Path=/", "b=2"]


def test_json_without_status(api: InvokeApi, client: httpx2.Client) -> None:
    """JSON that describes no response is the body of a 200."""
    api.returns(message="Hello, world!")
    response = client.get("/")
    assert (200, {"message": "Hello, world!"}) == (response.status_code, response.json())


def test_head_has_the_length_but_no_body(api: InvokeApi, client: httpx2.Client) -> None:
    """HEAD is answered with the headers of the function's answer, and its body stays here."""
    api.returns(statusCode=200, body="12345")
    response = client.head("/")
    assert ("5", b"") == (response.headers["content-length"], response.content)


def test_head_keeps_the_length_given(api: InvokeApi, client: httpx2.Client) -> None:
    """A function that sends no body for HEAD may still say how long it would be."""
    api.returns(statusCode=200, headers={"content-length": "12345"})
    assert client.head("/").headers["content-length"] == "12345"


def test_wrong_length_is_mended(api: InvokeApi, client: httpx2.Client) -> None:
    """The length is that of the body, whatever the function says."""
    api.returns(statusCode=200, headers={"Content-Length": "3"}, body="12345")
    assert client.get("/").text == "12345"


def test_no_content_has_no_body(api: InvokeApi, client: httpx2.Client) -> None:
    """204 comes without a body, and without a length."""
    api.returns(statusCode=204, body="12345")
    response = client.get("/")
    assert (204, b"", None) == (response.status_code, response.content, response.headers.get("content-length"))


@pytest.mark.parametrize("size", [5_000_000, 7_000_000])
def test_request_over_the_limit(api: InvokeApi, client: httpx2.Client, size: int) -> None:
    """A request of more than 6 MB in base64 is 413 and never reaches the function."""
    response = client.post("/predict", content=bytes(size), headers={"content-type": "image/jpeg"})
    assert_error(response, 413, "too_large")
    assert [] == api.events


def test_request_within_the_limit(api: InvokeApi, client: httpx2.Client) -> None:
    """4.5 MB of photo fit."""
    client.post("/predict", content=bytes(4_500_000), headers={"content-type": "image/jpeg"})
    assert len(base64.b64decode(api.events[0]["body"])) == 4_500_000


def test_response_over_the_limit(api: InvokeApi, client: httpx2.Client) -> None:
    """An answer of more than 6 MB is 502, as AWS would not let it pass."""
    api.returns(statusCode=200, body="x" * MAX_PAYLOAD_BYTES)
    assert_error(client.get("/"), 502, "bad_response")


def test_function_error_of_aws(api: InvokeApi, client: httpx2.Client) -> None:
    """AWS answers 200 and names a function error in a header: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html."""
    api.headers = {"X-Amz-Function-Error": "Unhandled"}
    assert_error(client.get("/"), 502, "function_error")


def test_function_error_of_the_emulator(api: InvokeApi, client: httpx2.Client) -> None:
    """The Runtime Interface Emulator names a function error in the body alone."""
    api.returns(errorType="ValueError", errorMessage="secret", stackTrace=["secret"])
    assert_error(client.get("/"), 502, "function_error")


def test_function_error_stays_inside(api: InvokeApi, client: httpx2.Client, caplog: pytest.LogCaptureFixture) -> None:
    """The client learns nothing of a function's error, the log names it beside the request's id."""
    api.returns(errorType="ValueError", errorMessage="secret")
    with caplog.at_level(logging.WARNING):
        error = client.get("/").json()["error"]
    assert error["message"] == "Internal Server Error"
    assert error["request_id"] in caplog.text
    assert "secret" in caplog.text


def test_malformed_answer(api: InvokeApi, client: httpx2.Client) -> None:
    """An answer that is not JSON is 502: so the emulator reports a timeout."""
    api.payload = b"Task timed out after 3.00 seconds"
    assert_error(client.get("/"), 502, "bad_response")


def test_refused_invocation(api: InvokeApi, client: httpx2.Client) -> None:
    """An Invoke API that knows no such function is 502."""
    api.status, api.payload = 404, b'{"Message": "Function not found"}'
    assert_error(client.get("/"), 502, "function_unreachable")


def test_nobody_listens() -> None:
    """An endpoint that is not there is 502. A port that is bound, and not listened on, refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with background(create_app(invoke_url(f"http://127.0.0.1:{bound.getsockname()[1]}"))) as url:
            assert_error(get(url), 502, "function_unreachable")


def test_endpoint_hangs(api: InvokeApi) -> None:
    """An endpoint that does not answer in time is 502."""
    api.released.clear()
    with background(create_app(invoke_url(api.endpoint), timeout_s=0.1)) as url:
        assert_error(get(url), 502, "function_unreachable")


@pytest.mark.parametrize(("concurrent", "expected"), [(False, 1), (True, 3)])
def test_invocations_side_by_side(api: InvokeApi, *, concurrent: bool, expected: int) -> None:
    """Invocations wait for one another, unless the endpoint is said to scale."""
    api.released.clear()
    app = Watched(create_app(invoke_url(api.endpoint), concurrent=concurrent))
    with background(app) as url, ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(get, url) for _ in range(3)]
        wait_for(app.arrived, 3)
        wait_for(api.started, expected)
        another_started = api.started.acquire(timeout=A_MOMENT_S)
        api.released.set()
        statuses = [answer.result().status_code for answer in answers]
    assert ([200, 200, 200], False, expected) == (statuses, another_started, api.most_running)


def test_server_leaves_logging_alone(api: InvokeApi) -> None:
    """A handler of uvicorn's would keep the standard error of the test that came first, and log there ever after."""
    names = ("uvicorn", "uvicorn.error", "uvicorn.access")
    before = [list(logging.getLogger(name).handlers) for name in names]
    with background(create_app(invoke_url(api.endpoint))):
        assert before == [logging.getLogger(name).handlers for name in names]


def send_raw(url: str, text: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(text.encode())
    return connection


def test_client_leaves_during_its_request(api: InvokeApi, url: str, client: httpx2.Client) -> None:
    """A request that its client never finished is not invoked, and the next one is served."""
    send_raw(url, "POST /left HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc").close()
    client.get("/next")
    assert [event["rawPath"] for event in api.events] == ["/next"]


def test_client_leaves_during_the_invocation(api: InvokeApi, app: Watched, url: str) -> None:
    """An invocation whose client has left runs to its end before the next: the emulator cannot be interrupted."""
    api.released.clear()
    connection = send_raw(url, "GET /left HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_for(api.started)
    connection.close()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(get, f"{url}/next")
        wait_for(app.arrived, 2)
        another_started = api.started.acquire(timeout=A_MOMENT_S)
        api.released.set()
        assert following.result().status_code == 200
    assert (False, 1) == (another_started, api.most_running)
    assert ["/left", "/next"] == [event["rawPath"] for event in api.events]


@pytest.fixture
def botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore, from SAM CLI's environment where ours has none, with AWS's example credentials."""
    site = [str(path) for path in ROOT.glob(".venv-sam/lib/python3*/site-packages")]
    monkeypatch.setattr(sys, "path", [*sys.path, *site])
    pytest.importorskip("botocore", reason="botocore is not installed")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


@pytest.mark.usefixtures("botocore")
def test_signed_requests(monkeypatch: pytest.MonkeyPatch, api: InvokeApi) -> None:
    """For AWS every invocation carries a SigV4 signature for Lambda in the region that the endpoint names."""
    monkeypatch.setenv("http_proxy", api.endpoint)  # the way to have AWS's host name answered here
    url = invoke_url("http://lambda.eu-west-1.amazonaws.com", "pets")
    with background(create_app(url, sign=True)) as local:
        assert get(local).status_code == 200
    authorization = api.sent_headers[0]["authorization"]
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/lambda/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=" in authorization


@pytest.mark.usefixtures("botocore")
def test_signing_needs_a_region() -> None:
    """An endpoint that names no region cannot be signed for, and the error says what was expected."""
    with pytest.raises(ValueError, match=r"expected https://lambda\.REGION\.amazonaws\.com"):
        create_app(invoke_url("http://127.0.0.1:3001"), sign=True)
