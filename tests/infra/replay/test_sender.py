"""Test the sender: its pace, its connections, its feedback and the share that gets it, and unreadable photos."""

import asyncio
import json
import signal
import threading
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.emulator.event import HttpRequest
from infra.emulator.response import HttpResponse
from infra.replay.journal import Answer
from infra.replay.labeled_photos import Photo, find_photos
from infra.replay.sender import Pace, Replay, is_selected
from tests.support.virtual_time import VirtualTimeLoop
from tests.support.waiting import DEADLINE_S, wait_until

ANSWER = {"request_id": "r", "model_version": "v", "predicted_class": "cat", "confidence": 1, "unknown": False}
NAME = "cat/1.jpg"  # in an archive
ANSWERED = HttpResponse(200, (), json.dumps(ANSWER).encode())


def replay_photos(
    ask: Callable[[HttpRequest], HttpResponse], count: int, pace: Pace, loop: Callable[[], asyncio.AbstractEventLoop]
) -> list[Answer]:
    answers: list[Answer] = []
    photos = [Photo(f"cat/{n}.jpg", "cat", "image/jpeg", partial(bytes, n + 1)) for n in range(count)]
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(Replay(ask, pace, answers.append).send(photos))
    return answers


def replay_on_virtual_clock(count: int, pace: Pace, *, takes_s: float) -> tuple[list[Answer], dict[str, list[float]]]:
    """Return the answers of a service that takes `takes_s`, and the times of its requests by path."""
    loop = VirtualTimeLoop(takes_s)
    arrivals: dict[str, list[float]] = {"/predict": [], "/feedback": []}

    def ask(request: HttpRequest) -> HttpResponse:
        arrivals[request.path].append(loop.time())
        return ANSWERED

    return replay_photos(ask, count, pace, lambda: loop), arrivals


def test_photos_are_sent_at_the_rate() -> None:
    """The latency of the answers does not change the rate while connections are free."""
    answers, arrivals = replay_on_virtual_clock(20, Pace(rate=50, concurrency=20, share=0), takes_s=0.1)
    assert pytest.approx([n / 50 for n in range(20)]) == arrivals["/predict"]
    assert [0.0] * 20 == [answer.late_ms for answer in answers]


def test_late_photos_record_their_delay() -> None:
    """A photo that waits for a connection is sent once one is free, and records its delay."""
    answers, arrivals = replay_on_virtual_clock(20, Pace(rate=100, concurrency=1, share=0), takes_s=0.05)
    assert pytest.approx([n * 0.05 for n in range(20)]) == arrivals["/predict"]
    assert pytest.approx([n * (50 - 10) for n in range(20)]) == [answer.late_ms for answer in answers]


def test_concurrency_is_bounded() -> None:
    """Without a rate, the maximum number of requests is in flight, feedback included, and none is late."""
    together, lock = threading.Barrier(5), threading.Lock()
    arrived, in_flight, most_in_flight = 0, 0, 0

    def ask(_request: HttpRequest) -> HttpResponse:
        nonlocal arrived, in_flight, most_in_flight
        with lock:
            arrived, in_flight = arrived + 1, in_flight + 1
            most_in_flight, is_early = max(most_in_flight, in_flight), arrived <= 5
        if is_early:
            together.wait(DEADLINE_S)  # the first five requests proceed only together
        with lock:
            in_flight -= 1
        return ANSWERED

    answers = replay_photos(ask, 20, Pace(concurrency=5), asyncio.new_event_loop)
    assert (5, 40, {0.0}) == (most_in_flight, arrived, {answer.late_ms for answer in answers})


def test_feedback_is_delayed() -> None:
    """The delay of a feedback does not delay other photos."""
    _, arrivals = replay_on_virtual_clock(10, Pace(concurrency=1, delay_s=0.3), takes_s=0.01)
    assert pytest.approx([n * 0.01 for n in range(10)]) == arrivals["/predict"]
    assert pytest.approx([0.01 + 0.3 + n * 0.01 for n in range(10)]) == arrivals["/feedback"]


@given(st.binary(), st.floats(0, 1), st.floats(0, 1))
def test_larger_share_includes_the_smaller(data: bytes, one: float, other: float) -> None:
    """Every larger share includes the photo; 1 selects all photos, and 0 selects none."""
    assert is_selected(data, min(one, other)) <= is_selected(data, max(one, other))
    assert (True, False) == (is_selected(data, 1), is_selected(data, 0))


def test_share_is_accurate() -> None:
    """The selected fraction of 10,000 photos is within four standard deviations."""
    taken = sum(is_selected(str(number).encode(), 0.3) for number in range(10_000))
    assert taken == pytest.approx(3000, abs=4 * (10_000 * 0.3 * 0.7) ** 0.5)


def test_ctrl_c_is_handled_in_every_phase() -> None:
    """While photos are sent, a signal wakes the event loop; while the loop is blocked, Python's own handler is back.

    The write fails, so the replay waits for the second request outside the loop.
    """
    second, wakeup_files, restored = threading.Event(), [], []

    def ask(request: HttpRequest) -> HttpResponse:
        if len(request.body) == 1:
            assert second.wait(DEADLINE_S)
        else:
            second.set()
            wait_until(lambda: wakeup_files == [-1] or signal.getsignal(signal.SIGINT) is signal.default_int_handler)
            restored.append(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        return ANSWERED

    def write(_: Answer) -> None:
        wakeup_files.append(signal.set_wakeup_fd(-1))
        signal.set_wakeup_fd(wakeup_files[0])
        raise OSError("disk full")

    photos = [Photo(f"cat/{size}.jpg", "cat", "image/jpeg", partial(bytes, size)) for size in (1, 2)]
    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        asyncio.run(Replay(ask, Pace(share=0), write).send(photos))
    assert ([True], [True]) == ([file != -1 for file in wakeup_files], restored)


def damage_stream(archive: bytearray) -> None:
    """Make the first block of the compressed data one of a type that does not exist."""
    archive[archive.index(NAME.encode()) + len(NAME)] = 0xFF


def encrypt_member(archive: bytearray) -> None:
    """Set the flag of an encrypted member in the central directory."""
    archive[archive.index(b"PK\x01\x02") + 8] |= 1


@pytest.mark.parametrize("change", [damage_stream, encrypt_member])
def test_unreadable_members_are_journaled(change, tmp_path: Path) -> None:
    """The replay records the error and continues, without sending a request for the photo."""
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NAME, bytes(1000))
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    answers: list[Answer] = []

    def ask(_: HttpRequest) -> HttpResponse:
        raise AssertionError("a photo without bytes was sent")

    asyncio.run(Replay(ask, Pace(), answers.append).send(find_photos(path)))
    assert [(NAME, "unreadable_file")] == [(answer.photo, answer.error_code) for answer in answers]
