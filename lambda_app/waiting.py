"""No more photos at a time than memory holds: a server that takes every upload ends by answering none."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_app.errors import Overloaded, SlowUpload
from lambda_app.middleware import error_response

# Photos of the largest size that wait or are at work; of small ones more may. A form is in memory twice while it is
# read: 120 uploads of 4 MB at once took 274 MB at the peak, of the 768 that a container has.
PLACES = 16
RETRY_AFTER_S = 1  # by then two cores have classified a hundred
# For a whole body, 4.5 MB at 0.6 Mbit/s, and for the next part of it: or a few idle connections would keep all places.
# Who sends slowly on purpose still can; a proxy that buffers requests, as ingresses do, keeps them out.
UPLOAD_S, IDLE_S = 60, 10


class WaitingRoom:
    """Pure ASGI, around every route. On Lambda, which brings one whole request at a time, nobody is turned away."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app, self.largest = app, max_bytes
        self.room = self.free = PLACES * max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = self._announced(Headers(scope=scope)) if scope["type"] == "http" else 0
        if not size:
            await self.app(scope, receive, send)
            return
        if size > self.free:
            await self._turn_away(scope, receive, send)
            return
        self.free -= size
        try:
            await self.app(scope, _in_time(receive), send)
        finally:
            self.free += size

    def _announced(self, headers: Headers) -> int:
        """Bytes of the body, before any of it is read. A larger one its route refuses unread."""
        if "transfer-encoding" in headers or "content-encoding" in headers:
            return self.largest
        length = headers.get("content-length", "")
        return int(min(float(length), self.largest)) if length.isdecimal() else 0  # int() refuses 4,300 digits

    async def _turn_away(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = f"{self.room - self.free} bytes of photos wait already; try again in {RETRY_AFTER_S} s"
        answer = error_response(scope["state"]["record"], Overloaded.status, Overloaded.code, said)
        answer.headers["retry-after"] = str(RETRY_AFTER_S)
        await answer(scope, receive, send)


def _in_time(receive: Receive) -> Receive:
    clock = asyncio.get_running_loop().time
    deadline = clock() + UPLOAD_S

    async def receive_in_time() -> Message:
        try:
            async with asyncio.timeout_at(min(deadline, clock() + IDLE_S)):
                return await receive()
        except TimeoutError:
            said = f"nothing of the body came for {IDLE_S} s, or it took longer than {UPLOAD_S} s; expected all of it"
            raise SlowUpload(said) from None

    return receive_in_time
