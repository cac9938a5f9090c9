"""Send photos at a given pace, and their true labels as feedback."""

import asyncio
import hashlib
import json
import signal
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from infra.emulator.response import HttpResponse
from infra.replay.journal import NO_ANSWER, Answer, Prediction
from infra.replay.labeled_photos import Photo
from infra.smoke.messages import Ask, NoAnswer, at, json_of, post


@dataclass(frozen=True)
class Pace:
    rate: float | None = None  # photos per second; None sends each as soon as a connection is free
    concurrency: int = 4  # maximum number of requests in flight
    share: float = 1.0  # fraction of the photos that get feedback
    delay_s: float = 0.0  # from the answer to the feedback


class Replay:
    """Send each photo at its scheduled time, with at most `concurrency` requests in flight.

    At this limit, the next photo waits, and its answer records the delay (`late_ms`).
    """

    def __init__(self, ask: Ask, pace: Pace, write: Callable[[Answer], None]) -> None:
        self._ask, self._pace, self._write = ask, pace, write
        self._connections = asyncio.Semaphore(pace.concurrency)

    async def send(self, photos: Iterable[Photo]) -> None:
        """Send all photos and their feedback; pass each answer to `write`. Ctrl-C raises `CancelledError`."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(self._pace.concurrency) as self._threads:
            sending = asyncio.create_task(self._send_on_time(photos))
            # Unlike asyncio.run's handler, this one also wakes a loop that is just about to wait. With the other one, 2
            # of 3,872 interruptions took effect only with the next answer. A script's background job ignores Ctrl-C.
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                loop.add_signal_handler(signal.SIGINT, sending.cancel)
            try:
                await sending
            except asyncio.CancelledError:
                print("\nwaiting for the requests in flight; the next run repeats them", file=sys.stderr, flush=True)
                raise
            finally:
                # The end of the `with` block waits for the threads' requests, so the loop cannot call its handler.
                loop.remove_signal_handler(signal.SIGINT)

    async def _send_on_time(self, photos: Iterable[Photo]) -> None:
        clock = asyncio.get_running_loop().time  # the clock of `asyncio.sleep`
        async with asyncio.TaskGroup() as group:
            began = clock()
            for number, photo in enumerate(photos):
                due = None if self._pace.rate is None else began + number / self._pace.rate
                if due is not None:
                    await asyncio.sleep(due - clock())
                await self._connections.acquire()
                late_s = 0 if due is None else max(0, clock() - due)
                group.create_task(self._send_photo(photo, late_s))

    async def _send_photo(self, photo: Photo, late_s: float) -> None:
        """Send one photo and its feedback. The caller has acquired a connection for the photo."""
        try:
            answer, needs_feedback = await self._run_in_thread(_predict, photo, late_s, self._pace.share)
        finally:
            self._connections.release()
        if needs_feedback:
            await asyncio.sleep(self._pace.delay_s)
            async with self._connections:
                answer = await self._run_in_thread(_send_feedback, answer)
        self._write(answer)

    async def _run_in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, self._ask, *arguments)


def _predict(ask: Ask, photo: Photo, late_s: float, share: float) -> tuple[Answer, bool]:
    """Return the answer for a photo, and whether to send feedback for it."""
    create_answer = partial(Answer, photo=photo.name, label=photo.label, late_ms=round(1000 * late_s, 3))
    try:
        data = photo.read()
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):  # RuntimeError: an encrypted member
        return create_answer(error_code="unreadable_file"), False
    request, began = post(photo.media_type, data), time.perf_counter()
    try:
        response = ask(request)
    except NoAnswer:
        return create_answer(error_code="no_answer"), False
    latency_ms = round((time.perf_counter() - began) * 1000, 3)
    answer = create_answer(status=int(response.status), latency_ms=latency_ms, **_parse_response(response))
    return answer, answer.request_id is not None and is_selected(data, share)


def _parse_response(response: HttpResponse) -> dict[str, Any]:
    if response.status != HTTPStatus.OK:
        code = at(json_of(response), "error", "code")  # errors of AWS itself have no code
        return {"error_code": code if isinstance(code, str) else f"http_{int(response.status)}"}
    try:
        return Prediction.model_validate_json(response.body).model_dump()
    except ValidationError:
        return {"error_code": "unexpected_answer"}


def _send_feedback(ask: Ask, answer: Answer) -> Answer:
    body = json.dumps({"request_id": answer.request_id, "label": answer.label}).encode()
    try:
        status = int(ask(post("application/json", body, "/feedback")).status)
    except NoAnswer:
        status = NO_ANSWER
    return answer.model_copy(update={"feedback_status": status})


def is_selected(data: bytes, share: float) -> bool:
    """Return whether a photo belongs to the given share, by its content, so that repeated runs select the same."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") < share * 2**64
