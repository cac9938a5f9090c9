"""Sends photos at a given pace, and their true labels as feedback."""

import asyncio
import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from infra.emulator.event import HttpRequest
from infra.emulator.response import HttpResponse
from infra.replay.journal import NONE, Answer, Prediction
from infra.replay.labeled_photos import Photo
from infra.smoke.answers import Ask, NoAnswer, at, json_of, post


@dataclass(frozen=True)
class Pace:
    rate: float | None = None  # photos a second; None: as fast as answers come
    at_a_time: int = 4  # requests, at most
    share: float = 1.0  # of the photos that get feedback
    delay_s: float = 0.0  # from the answer to the feedback


class Replay:
    """Every photo has its time, however long the answers before it take: a slow service gets no easier questions.

    What cannot be sent in time, for `at_a_time` requests are under way, is sent late and says so.
    """

    def __init__(self, ask: Ask, pace: Pace, write: Callable[[Answer], None]) -> None:
        self._ask, self._pace, self._write = ask, pace, write
        self._turns = asyncio.Semaphore(pace.at_a_time)

    async def send(self, photos: Iterable[Photo]) -> None:
        clock = asyncio.get_running_loop().time  # the one by which `asyncio.sleep` waits
        with ThreadPoolExecutor(self._pace.at_a_time) as self._threads:
            async with asyncio.TaskGroup() as group:
                began = clock()
                for number, photo in enumerate(photos):
                    due = None if self._pace.rate is None else began + number / self._pace.rate
                    if due is not None:
                        await asyncio.sleep(due - clock())
                    await self._turns.acquire()
                    late_s = 0 if due is None else max(0, clock() - due)
                    group.create_task(self._one(photo, late_s))

    async def _one(self, photo: Photo, late_s: float) -> None:
        """A turn was acquired for the photo."""
        try:
            answer, wanted = await self._in_thread(_predict, photo, late_s, self._pace.share)
        finally:
            self._turns.release()
        if wanted:
            await asyncio.sleep(self._pace.delay_s)
            async with self._turns:
                answer = await self._in_thread(_feedback, answer)
        self._write(answer)

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, self._ask, *arguments)


def _predict(ask: Ask, photo: Photo, late_s: float, share: float) -> tuple[Answer, bool]:
    """The answer, and whether its feedback is wanted."""
    answer = partial(Answer, photo=photo.name, label=photo.label, late_ms=round(1000 * late_s, 3))
    try:
        data = photo.read()
    except (OSError, zipfile.BadZipFile):
        return answer(error_code="unreadable_file"), False
    request, began = post(photo.media_type, data), time.perf_counter()
    try:
        response = ask(request)
    except NoAnswer:
        return answer(error_code="no_answer"), False
    latency_ms = round((time.perf_counter() - began) * 1000, 3)
    answered = answer(status=int(response.status), latency_ms=latency_ms, **_content(response))
    return answered, answered.request_id is not None and chosen(data, share)


def _content(response: HttpResponse) -> dict[str, Any]:
    if response.status != HTTPStatus.OK:
        code = at(json_of(response), "error", "code")
        return {"error_code": code if isinstance(code, str) else f"http_{int(response.status)}"}  # AWS's has no code
    try:
        return Prediction.model_validate_json(response.body).model_dump()
    except ValidationError:
        return {"error_code": "unexpected_answer"}


def _feedback(ask: Ask, answer: Answer) -> Answer:
    body = json.dumps({"request_id": answer.request_id, "label": answer.label}).encode()
    request = HttpRequest("POST", "/feedback", headers=(("content-type", "application/json"),), body=body)
    try:
        status = int(ask(request).status)
    except NoAnswer:
        status = NONE
    return answer.model_copy(update={"feedback_status": status})


def chosen(data: bytes, share: float) -> bool:
    """By content, so that the same photos are chosen every time."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") < share * 2**64
