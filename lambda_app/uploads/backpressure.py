"""Limit the bytes of photos in memory, and the time of an upload; refuse more with 503 and 408."""

import asyncio
from functools import partial

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_app.errors import Overloaded, SlowUpload
from lambda_app.telemetry.middleware import error_response

# Photos of the largest size that wait or are at work; of small ones more may. A form is in memory twice while it is
# read: 120 uploads of 4 MB at once took 274 MB at the peak. A container has 1 GB: decoding takes up to 500 MB of it.
PLACES = 16
RETRY_AFTER_S = 1  # by then two cores have classified a hundred
# After its first seconds a body must come at this rate, a tenth of a slow phone's, and whole within a minute.
# Clients that trickle bytes would keep all places. A proxy that buffers requests, as ingresses do, keeps them out.
GRACE_S, BYTES_PER_S, UPLOAD_S = 10, 16_000, 60
HUNG_UP_S = 0.01  # for the server to report that the client has left


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
            scope["state"]["record"].has_hung_up = partial(_has_hung_up, receive)
            await self.app(scope, _in_time(receive), send)
        finally:
            self.free += size

    def _announced(self, headers: Headers) -> int:
        """Return the bytes that the body will take, before any is read. Routes refuse larger bodies unread."""
        if "transfer-encoding" in headers or "content-encoding" in headers:
            return self.largest
        # Base64 in JSON is half as large again.
        length = headers.get("content-length", "")
        return int(min(float(length), self.largest * 3 // 2)) if length.isdecimal() else 0  # int() refuses 4,300 digits

    async def _turn_away(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = f"{self.room - self.free} bytes of photos wait already; try again in {RETRY_AFTER_S} s"
        answer = error_response(scope["state"]["record"], Overloaded.status, Overloaded.code, reason)
        answer.headers["retry-after"] = str(RETRY_AFTER_S)
        await answer(scope, receive, send)


def _in_time(receive: Receive) -> Receive:
    clock = asyncio.get_running_loop().time
    began, received = clock(), 0

    async def receive_in_time() -> Message:
        nonlocal received
        try:
            async with asyncio.timeout_at(began + min(UPLOAD_S, GRACE_S + received / BYTES_PER_S)):
                message = await receive()
        except TimeoutError:
            raise SlowUpload(
                f"{received} bytes of the body came in {clock() - began:.0f} s; expected {BYTES_PER_S} a second after "
                f"the first {GRACE_S} s, and all of it within {UPLOAD_S} s"
            ) from None
        received += len(message.get("body", b""))
        return message

    return receive_in_time


async def _has_hung_up(receive: Receive) -> bool:
    """Return whether the client has closed the connection. Call it after the whole body is read."""
    try:
        async with asyncio.timeout(HUNG_UP_S):
            return bool((await receive())["type"] == "http.disconnect")
    except TimeoutError:
        return False
