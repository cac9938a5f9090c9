"""Check that memory is reserved before a photo is decoded, and that requests wait for a limited time."""

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
from tests.support.uploads import assert_error, post
from tests.support.waiting import DEADLINE_S, wait_until

LONG_AGO = time.monotonic() - 1000


async def connected() -> bool:
    return False


async def disconnected() -> bool:
    return True


def test_photo_waits_for_the_memory_of_another(monkeypatch):
    """A second photo that needs over half of the memory waits for the first; a smaller one uses the rest."""
    monkeypatch.setattr(admission, "MAX_WAIT_S", DEADLINE_S)
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
    assert second_reserved.wait(DEADLINE_S)
    thread.join()


def wait_for_tickets(memory, count):
    """Return when `count` photos wait for memory. No public attribute shows this."""
    wait_until(lambda: len(memory._tickets) >= count)


def test_photo_larger_than_the_memory_reserves_all_of_it(monkeypatch):
    """Such a photo does not wait for memory that does not exist, and no other photo is decoded beside it."""
    monkeypatch.setattr(admission, "MAX_WAIT_S", 0)
    memory = Admission(threads=2, memory=100)
    with memory.reserve(1000), pytest.raises(Overloaded), memory.reserve(1):
        pass
    with memory.reserve(100):
        pass


def test_memory_is_reserved_in_order_of_arrival(monkeypatch):
    """Small photos that would fit do not overtake a large one."""
    monkeypatch.setattr(admission, "MAX_WAIT_S", DEADLINE_S)
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
        assert [] == order  # although 10 would fit
    for thread in threads:
        thread.join()
    assert [100, 10] == order


@pytest.mark.parametrize(("limit", "waited"), [(0, 0), (DEADLINE_S, DEADLINE_S)])
def test_photo_without_memory_in_time_is_overloaded(monkeypatch, limit, waited):
    """If a photo and the earlier ones of its request waited for the limit, it gets only memory that is free."""
    monkeypatch.setattr(admission, "MAX_WAIT_S", limit)
    memory = Admission(threads=2, memory=100)
    with memory.reserve(60):
        message = f"waited {limit} s for 60 bytes of memory"
        with pytest.raises(Overloaded, match=message), memory.reserve(60, waited=waited):
            pass
        with memory.reserve(40, waited=waited):
            pass


def check(**options):
    async def check_on_thread():
        defaults = {"arrived": time.monotonic(), "is_queued": True, "is_disconnected": connected}
        turn = Turn(**(defaults | options), loop=asyncio.get_running_loop())
        await asyncio.get_running_loop().run_in_executor(None, turn.check)

    asyncio.run(check_on_thread())


def test_queued_photo_is_overloaded_after_the_limit(monkeypatch):
    """A photo that waited longer than `MAX_WAIT_S` for a thread raises `Overloaded`."""
    monkeypatch.setattr(admission, "MAX_WAIT_S", 5.0)
    with pytest.raises(Overloaded, match=r"waited \d+\.\d s for a free thread; the limit is 5 s"):
        check(arrived=LONG_AGO)


def test_photo_that_was_not_queued_is_never_overloaded():
    """A request that found a free thread is never rejected, however late the thread starts."""
    check(arrived=LONG_AGO, is_queued=False, is_disconnected=disconnected)


def test_photo_of_a_disconnected_client_is_not_decoded():
    """A queued request checks the connection before it decodes."""
    with pytest.raises(ClientDisconnect):
        check(is_disconnected=disconnected)
    check(is_disconnected=connected)
    check(is_disconnected=None)


def test_queue_detects_queued_and_stuck_requests(monkeypatch):
    """With one thread, the second request is queued; the queue is stuck if the oldest request exceeds the limit."""

    async def scenario():
        requests = Admission(threads=1)
        with ExitStack() as stack:
            turns = [stack.enter_context(requests.queue(None)) for _ in range(3)]
            assert [False, True, True] == [turn.is_queued for turn in turns]
            monkeypatch.setattr(admission, "STUCK_S", DEADLINE_S)
            assert not requests.is_stuck()
            monkeypatch.setattr(admission, "STUCK_S", -1)
            assert requests.is_stuck()
        assert not requests.is_stuck()

    asyncio.run(scenario())


def test_server_is_not_ready_while_requests_are_stuck(tiny_classifier, monkeypatch):
    """While requests are stuck, `/v2/health/ready` is 503, and Kubernetes routes to other pods; `/health` is 200."""
    with TestClient(create_app(tiny_classifier, Settings())) as client:
        assert (200, {"ready": True}) == readiness(client)
        monkeypatch.setattr(Admission, "is_stuck", lambda _: True)
        assert 503 == readiness(client)[0]
        assert 200 == client.get("/health").status_code


def readiness(client):
    response = client.get("/v2/health/ready")
    return response.status_code, response.json()


def test_overloaded_response_has_retry_after(client, encode, monkeypatch):
    """The error is 503 with a `Retry-After` header, in the usual shape."""

    def too_late(_):
        raise Overloaded("the photo waited 6.0 s for a free thread")

    monkeypatch.setattr(Turn, "check", too_late)
    response = post(client, encode(), "image/jpeg")
    assert_error(response, 503, "overloaded")
    assert "1" == response.headers["retry-after"]
