"""A server that is given more photos than memory holds says so at once, behind a real uvicorn."""

import contextlib
import socket
import time
from urllib.parse import urlsplit

import httpx2
import pytest

from infra.local.serve import background
from lambda_app.app import create_app
from lambda_app.settings import Settings
from lambda_app.waiting import PLACES

LARGEST = 100_000
BEGINNING = "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\n{}\r\n\r\n"


@pytest.fixture
def url(tiny_classifier):
    with background(create_app(tiny_classifier, Settings(max_image_bytes=LARGEST))) as url:
        yield url


@contextlib.contextmanager
def slow_uploads(url, count, announced):
    """Requests that were begun, and of whose bodies nothing comes."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            address = (urlsplit(url).hostname, urlsplit(url).port)
            connection = stack.enter_context(socket.create_connection(address))
            connection.sendall(BEGINNING.format(announced).encode())
        time.sleep(0.3)  # until the server has read them all
        yield


@pytest.mark.parametrize(
    "announced",
    [f"content-length: {LARGEST}", "transfer-encoding: chunked", "content-encoding: gzip\r\ncontent-length: 9"],
)
def test_one_photo_too_many_is_turned_away_at_once(url, encode, announced):
    """503 in the one error shape, and when to come again; it counts as an error, and health is still told."""
    with slow_uploads(url, PLACES, announced), httpx2.Client(base_url=url, trust_env=False, timeout=2) as client:
        answer = client.post("/predict", content=encode(), headers={"content-type": "image/jpeg"})
        assert (503, "overloaded", "1") == (
            answer.status_code,
            answer.json()["error"]["code"],
            answer.headers["retry-after"],
        )
        assert 'prediction_errors_total{code="overloaded"} 1.0' in client.get("/metrics").text
        assert 200 == client.get("/health").status_code


def test_room_is_made_by_those_who_leave(url, encode):
    """Whether they were answered or gave up; and of small photos more find room."""
    with httpx2.Client(base_url=url, trust_env=False, timeout=2) as client:

        def status():
            return client.post("/predict", content=encode(), headers={"content-type": "image/jpeg"}).status_code

        with slow_uploads(url, PLACES - 1, f"content-length: {LARGEST}"):
            assert [200] * 3 == [status() for _ in range(3)]
            with slow_uploads(url, 1, f"content-length: {LARGEST}"):
                assert 503 == status()
            time.sleep(0.3)  # until the server has noticed
            assert 200 == status()


@pytest.mark.parametrize("limit", ["UPLOAD_S", "IDLE_S"])
def test_who_sends_too_slowly_makes_room(url, monkeypatch, limit):
    """A body that does not arrive within the time is answered 408, in the one error shape."""
    monkeypatch.setattr(f"lambda_app.waiting.{limit}", 0.2)
    address = (urlsplit(url).hostname, urlsplit(url).port)
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(BEGINNING.format("content-length: 9").encode() + b"1")
        answer = connection.recv(10_000).decode()
        assert "408" == answer.split()[1]
        assert "slow_upload" in answer + connection.recv(10_000).decode()
