"""Limit the memory of concurrent uploads and the time of each. Reject excess uploads with 503, slow ones with 408."""

import asyncio
from functools import partial

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_app.error_responses import request_error_response
from lambda_app.errors import Overloaded, SlowUpload
from lambda_app.uploads.reader import content_length

# The number of concurrent uploads of the largest size; more fit if they are smaller. The form parser holds a form
# twice. When 120 clients uploaded 4 MB each at once, memory reached 274 MB. A container has 1 GB; decoding takes up to
# 500 MB of it.
MAX_UPLOADS = 16
# After `GRACE_S`, a body must average `BYTES_PER_S`, a tenth of a slow phone's rate, and it must be complete within
# `UPLOAD_S`. Otherwise, clients that trickle bytes could use up the limit. Proxies that buffer requests, as ingresses
# do, shield the server from such clients.
GRACE_S, BYTES_PER_S, UPLOAD_S = 10, 16_000, 60


class UploadLimiter:
    """Limit the uploads of all routes, as pure ASGI middleware.

    It rejects nothing in Lambda, which passes the function one complete request at a time.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes
        self.capacity = self.free = MAX_UPLOADS * max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = self._expected_size(Headers(scope=scope)) if scope["type"] == "http" else 0
        if not size:
            await self.app(scope, receive, send)
            return
        if size > self.free:
            used, wait = self.capacity - self.free, Overloaded.retry_after
            error = Overloaded(f"uploads in progress hold {used} bytes; try again in {wait} s")
            await request_error_response(scope, error)(scope, receive, send)
            return
        self.free -= size
        try:
            scope["state"]["record"].is_disconnected = partial(_is_disconnected, receive)
            await self.app(scope, _with_deadline(receive), send)
        finally:
            self.free += size

    def _expected_size(self, headers: Headers) -> int:
        """Return the bytes to reserve for the body before reading it. Routes reject larger bodies unread."""
        if "transfer-encoding" in headers or "content-encoding" in headers:
            return self.max_bytes
        return min(content_length(headers), self.max_bytes * 3 // 2)  # base64 in JSON takes up to 1.5 times the bytes


def _with_deadline(receive: Receive) -> Receive:
    """Return a `receive` that raises `SlowUpload` if the body arrives too slowly."""
    clock = asyncio.get_running_loop().time
    start, received = clock(), 0

    async def receive_in_time() -> Message:
        nonlocal received
        try:
            async with asyncio.timeout_at(start + min(UPLOAD_S, GRACE_S + received / BYTES_PER_S)):
                message = await receive()
        except TimeoutError:
            raise SlowUpload(
                f"{received} bytes of the body arrived in {clock() - start:.0f} s; expected {BYTES_PER_S} per second "
                f"after the first {GRACE_S} s, and the complete body within {UPLOAD_S} s"
            ) from None
        received += len(message.get("body", b""))
        return message

    return receive_in_time


async def _is_disconnected(receive: Receive) -> bool:
    """Return whether the client has closed the connection. Call it only after the whole body has been read.

    The timeout is 0, because uvicorn reports a known disconnect at once and every queued request calls this function:
    with 10 ms, one process on two cores served 98 instead of 168 photos per second to 8 clients.
    """
    try:
        async with asyncio.timeout(0):
            return bool((await receive())["type"] == "http.disconnect")
    except TimeoutError:
        return False
