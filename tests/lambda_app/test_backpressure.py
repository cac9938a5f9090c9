"""Check that a server behind uvicorn rejects uploads that exceed its memory, and uploads that are too slow."""

import contextlib
import http.client
import json
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx2
import pytest

from infra.emulator.serve import background
from lambda_app.app import create_app
from lambda_app.inference import Inference
from lambda_app.settings import Settings
from lambda_app.uploads.backpressure import MAX_UPLOADS
from tests.support.uploads import assert_error, post
from tests.support.waiting import DEADLINE_S, acquire

MAX_BYTES = 100_000
HEAD = "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\n{}\r\n\r\n"


class ObservedApp:
    """The app, with semaphores that count the requests that began to read their body and those that ended."""

    def __init__(self, app):
        self.app, self.reading, self.ended = app, threading.Semaphore(0), threading.Semaphore(0)

    async def __call__(self, scope, receive, send):
        is_reading = False

        async def observed_receive():
            nonlocal is_reading
            if not is_reading:
                is_reading = True
                self.reading.release()
            return await receive()

        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, observed_receive, send)
        finally:
            self.ended.release()


@pytest.fixture
def app(tiny_classifier):
    return ObservedApp(create_app(tiny_classifier, Settings(max_image_bytes=MAX_BYTES)))


@pytest.fixture
def url(app):
    with background(app) as url:
        yield url


@contextlib.contextmanager
def stalled_uploads(app, url, count, header):
    """Hold `count` uploads that the server has admitted and that send no body. On exit, disconnect them."""
    address = (urlsplit(url).hostname, urlsplit(url).port)
    while app.reading.acquire(blocking=False):
        pass  # discard the counts of earlier requests
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(address))
            connection.sendall(HEAD.format(header).encode())
        acquire(app.reading, count)
        yield
    acquire(app.ended, count)


@pytest.mark.parametrize(
    "header",
    [f"content-length: {MAX_BYTES}", "transfer-encoding: chunked", "content-encoding: gzip\r\ncontent-length: 9"],
)
def test_excess_upload_is_rejected_at_once(app, url, encode, header):
    """The response is 503 with `Retry-After` and counts as an error; the health check still succeeds."""
    with (
        stalled_uploads(app, url, MAX_UPLOADS, header),
        httpx2.Client(base_url=url, trust_env=False, timeout=DEADLINE_S) as client,
    ):
        response = post(client, encode(), "image/jpeg")
        assert_error(response, 503, "overloaded")
        assert "1" == response.headers["retry-after"]
        assert 'prediction_errors_total{code="overloaded"} 1.0' in client.get("/metrics").text
        assert 200 == client.get("/health").status_code
        acquire(app.ended, 3)  # the photo, /metrics and /health


def test_memory_is_released_by_answered_and_disconnected_uploads(app, url, encode):
    """Answered and disconnected uploads make room for others, and several small photos fit where one large one does."""
    with httpx2.Client(base_url=url, trust_env=False, timeout=DEADLINE_S) as client:

        def status():
            response = post(client, encode(), "image/jpeg")
            acquire(app.ended, 1)
            return response.status_code

        with stalled_uploads(app, url, MAX_UPLOADS - 1, f"content-length: {MAX_BYTES}"):
            assert [200] * 3 == [status() for _ in range(3)]
            with stalled_uploads(app, url, 1, f"content-length: {MAX_BYTES}"):
                assert 503 == status()
            assert 200 == status()


def test_photo_of_a_client_that_left_is_not_classified(app, url, encode, monkeypatch):
    """A request that waits for a thread ends without a prediction if its client disconnects meanwhile."""
    threads, released, started = os.cpu_count() or 1, threading.Event(), threading.Semaphore(0)
    decode = Inference._decode

    def decode_when_released(self, photos):
        started.release()
        assert released.wait(DEADLINE_S)
        return decode(self, photos)

    monkeypatch.setattr(Inference, "_decode", decode_when_released)
    unlimited = httpx2.Limits(max_connections=None)  # by default 100, fewer than the threads of a large machine
    with (
        ThreadPoolExecutor(threads) as pool,
        httpx2.Client(base_url=url, trust_env=False, timeout=DEADLINE_S, limits=unlimited) as client,
    ):
        answers = [pool.submit(post, client, encode(), "image/jpeg") for _ in range(threads)]
        acquire(started, threads)
        with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)) as connection:
            connection.sendall(HEAD.format(f"content-length: {len(encode())}").encode() + encode())
            acquire(app.reading, threads + 1)
        assert [200] * 2 == [client.get("/health").status_code for _ in range(2)]  # the server has noticed by then
        released.set()
        assert [200] * threads == [answer.result().status_code for answer in answers]
        acquire(app.ended, threads + 3)  # the photos, the client that left and two health checks
    assert not started.acquire(blocking=False)


@pytest.mark.parametrize("limit", ["UPLOAD_S", "GRACE_S"])
def test_slow_upload_times_out(url, monkeypatch, limit):
    """The response to a body that does not arrive in time is 408, in the usual error shape."""
    monkeypatch.setattr(f"lambda_app.uploads.backpressure.{limit}", 0.2)
    address = (urlsplit(url).hostname, urlsplit(url).port)
    with socket.create_connection(address, timeout=DEADLINE_S) as connection:
        connection.sendall(HEAD.format("content-length: 9").encode() + b"1")
        with http.client.HTTPResponse(connection) as response:
            response.begin()
            assert (408, "slow_upload") == (response.status, json.loads(response.read())["error"]["code"])
