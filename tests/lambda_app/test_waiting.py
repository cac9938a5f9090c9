"""A server that is given more photos than memory holds says so at once, behind a real uvicorn."""

import contextlib
import http.client
import json
import socket
import threading
from urllib.parse import urlsplit

import httpx2
import pytest

from infra.emulator.serve import background
from lambda_app.app import create_app
from lambda_app.settings import Settings
from lambda_app.uploads.backpressure import MAX_UPLOADS

LARGEST = 100_000
BEGINNING = "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\n{}\r\n\r\n"
MINUTES = 600  # a timeout that no test waits for


class Watched:
    """The app, and semaphores that count requests: those that began to read their body, and those that ended."""

    def __init__(self, app):
        self.app, self.reading, self.ended = app, threading.Semaphore(0), threading.Semaphore(0)

    async def __call__(self, scope, receive, send):
        began = False

        async def watched():
            nonlocal began
            if not began:
                began = True
                self.reading.release()
            return await receive()

        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, watched, send)
        finally:
            self.ended.release()


def wait_for(semaphore, count):
    assert all(semaphore.acquire(timeout=MINUTES) for _ in range(count))


@pytest.fixture
def app(tiny_classifier, monkeypatch):
    """An upload never times out, unless a test says so."""
    for limit in ("UPLOAD_S", "GRACE_S"):
        monkeypatch.setattr(f"lambda_app.uploads.backpressure.{limit}", MINUTES)
    return Watched(create_app(tiny_classifier, Settings(max_image_bytes=LARGEST)))


@pytest.fixture
def url(app):
    with background(app) as url:
        yield url


@contextlib.contextmanager
def slow_uploads(app, url, count, announced):
    """Requests that have their places, and of whose bodies nothing comes; afterwards they have left."""
    address = (urlsplit(url).hostname, urlsplit(url).port)
    while app.reading.acquire(blocking=False):
        pass  # these were earlier requests
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(address))
            connection.sendall(BEGINNING.format(announced).encode())
        wait_for(app.reading, count)
        yield
    wait_for(app.ended, count)


@pytest.mark.parametrize(
    "announced",
    [f"content-length: {LARGEST}", "transfer-encoding: chunked", "content-encoding: gzip\r\ncontent-length: 9"],
)
def test_one_photo_too_many_is_turned_away_at_once(app, url, encode, announced):
    """503 in the one error shape, and when to come again; it counts as an error, and health is still told."""
    with (
        slow_uploads(app, url, MAX_UPLOADS, announced),
        httpx2.Client(base_url=url, trust_env=False, timeout=MINUTES) as client,
    ):
        answer = client.post("/predict", content=encode(), headers={"content-type": "image/jpeg"})
        assert (503, "overloaded", "1") == (
            answer.status_code,
            answer.json()["error"]["code"],
            answer.headers["retry-after"],
        )
        assert 'prediction_errors_total{code="overloaded"} 1.0' in client.get("/metrics").text
        assert 200 == client.get("/health").status_code
        wait_for(app.ended, 3)


def test_room_is_made_by_those_who_leave(app, url, encode):
    """Whether they were answered or gave up; and of small photos more find room."""
    with httpx2.Client(base_url=url, trust_env=False, timeout=MINUTES) as client:

        def status():
            answer = client.post("/predict", content=encode(), headers={"content-type": "image/jpeg"})
            wait_for(app.ended, 1)
            return answer.status_code

        with slow_uploads(app, url, MAX_UPLOADS - 1, f"content-length: {LARGEST}"):
            assert [200] * 3 == [status() for _ in range(3)]
            with slow_uploads(app, url, 1, f"content-length: {LARGEST}"):
                assert 503 == status()
            assert 200 == status()


@pytest.mark.parametrize("limit", ["UPLOAD_S", "GRACE_S"])
def test_who_sends_too_slowly_makes_room(url, monkeypatch, limit):
    """A body that does not arrive within the time is answered 408, in the one error shape."""
    monkeypatch.setattr(f"lambda_app.uploads.backpressure.{limit}", 0.2)
    address = (urlsplit(url).hostname, urlsplit(url).port)
    with socket.create_connection(address, timeout=MINUTES) as connection:
        connection.sendall(BEGINNING.format("content-length: 9").encode() + b"1")
        with http.client.HTTPResponse(connection) as answer:
            answer.begin()
            assert (408, "slow_upload") == (answer.status, json.loads(answer.read())["error"]["code"])
