"""Memory is reserved before a photo is decoded, and no photo waits for long behind others."""

import asyncio
import threading
import time
from contextlib import ExitStack

import pytest
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient

from lambda_app import admission
from lambda_app.admission import Admission, Turn
from lambda_app.app import create_app
from lambda_app.errors import Overloaded
from lambda_app.settings import Settings

MINUTES_S = 600  # a timeout that only a failing test waits for
LONG_AGO = time.monotonic() - 1000


async def stays() -> bool:
    return False


async def left() -> bool:
    return True


def test_memory_of_a_photo_waits_for_that_of_others(monkeypatch):
    """A second photo of more than half the memory is decoded after the first; what is left is still given."""
    monkeypatch.setattr(admission, "PATIENCE_S", MINUTES_S)
    memory, second_reserved = Admission(threads=2, memory=100), threading.Event()

    def second():
        with memory.reserve(60):
            second_reserved.set()

    thread = threading.Thread(target=second)
    with memory.reserve(60):
        with memory.reserve(40):
            pass
        thread.start()
        wait_for_tickets(memory, 1)
        assert not second_reserved.is_set()
    assert second_reserved.wait(MINUTES_S)
    thread.join()


def wait_for_tickets(memory, count):
    """Return when so many photos wait for memory, which nothing else tells."""
    while len(memory._tickets) < count:
        time.sleep(0.001)


def test_memory_of_a_photo_larger_than_all_is_all():
    """A setting that allows larger photos never leaves one waiting for memory that does not exist."""
    with Admission(threads=1, memory=100).reserve(1000):
        pass


def test_memory_is_given_in_the_order_of_requests(monkeypatch):
    """A large photo is not passed over by small ones that would fit."""
    monkeypatch.setattr(admission, "PATIENCE_S", MINUTES_S)
    memory, order = Admission(threads=3, memory=100), []

    def photo(size):
        with memory.reserve(size):
            order.append(size)

    threads = []
    with memory.reserve(60):
        for size in (100, 10):
            threads.append(threading.Thread(target=photo, args=[size]))
            threads[-1].start()
            wait_for_tickets(memory, len(threads))
        assert [] == order  # though 10 would fit
    for thread in threads:
        thread.join()
    assert [100, 10] == order


def test_memory_that_is_not_free_in_time_is_overloaded(monkeypatch):
    """The photo's client can retry, and the next photo gets the memory."""
    monkeypatch.setattr(admission, "PATIENCE_S", 0)
    memory = Admission(threads=2, memory=100)
    with memory.reserve(60):
        with pytest.raises(Overloaded, match="waited 0 s for 60 bytes of memory"), memory.reserve(60):
            pass
        with memory.reserve(40):
            pass


def check(**options):
    async def on_a_thread():
        defaults = {"arrived": time.monotonic(), "is_behind": True, "is_disconnected": stays}
        turn = Turn(**(defaults | options), loop=asyncio.get_running_loop())
        await asyncio.get_running_loop().run_in_executor(None, turn.check)

    asyncio.run(on_a_thread())


def test_photo_that_waited_too_long_is_overloaded():
    """Its client is told to retry, instead of getting an answer after it has left."""
    with pytest.raises(Overloaded, match=r"waited \d+\.\d s for others; at most 5 s"):
        check(arrived=LONG_AGO)


def test_photo_that_nobody_waited_before_is_never_overloaded():
    """A slow start of its thread is not a queue; on Lambda there is none."""
    check(arrived=LONG_AGO, is_behind=False, is_disconnected=left)


def test_photo_of_a_client_that_left_is_not_decoded():
    """The server is asked before the decoder starts."""
    with pytest.raises(ClientDisconnect):
        check(is_disconnected=left)
    check(is_disconnected=stays)
    check(is_disconnected=None)


def test_queue_knows_who_is_behind_and_since_when_it_is_stuck(monkeypatch):
    """One thread: the second request is behind the first; stuck is whoever waits longer than any should."""

    async def scenario():
        requests = Admission(threads=1)
        with ExitStack() as stack:
            turns = [stack.enter_context(requests.queue(None)) for _ in range(3)]
            assert [False, True, True] == [turn.is_behind for turn in turns]
            monkeypatch.setattr(admission, "STUCK_S", MINUTES_S)
            assert not requests.is_stuck()
            monkeypatch.setattr(admission, "STUCK_S", -1)
            assert requests.is_stuck()
        assert not requests.is_stuck()

    asyncio.run(scenario())


def test_readiness_is_lost_while_predictions_are_stuck(tiny_classifier, monkeypatch):
    """Kubernetes then sends requests elsewhere; the server still answers health checks."""
    with TestClient(create_app(tiny_classifier, Settings())) as client:
        assert (200, {"ready": True}) == _ready(client)
        monkeypatch.setattr(Admission, "is_stuck", lambda _: True)
        assert 503 == _ready(client)[0]
        assert 200 == client.get("/health").status_code


def _ready(client):
    answer = client.get("/v2/health/ready")
    return answer.status_code, answer.json()


def test_overloaded_answer_says_when_to_retry(client, encode, monkeypatch):
    """503 with Retry-After, in the one error shape."""

    def too_late(_):
        raise Overloaded("the photo waited 6.0 s for others")

    monkeypatch.setattr(Turn, "check", too_late)
    answer = client.post("/predict", content=encode(), headers={"content-type": "image/jpeg"})
    assert (503, "overloaded", "1") == (
        answer.status_code,
        answer.json()["error"]["code"],
        answer.headers["retry-after"],
    )
