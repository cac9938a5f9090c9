"""Asks over HTTP, as any client does. Its own module: httpx2 is not in the image, where the hook runs."""

import time
from typing import Self

import httpx2

from infra.emulator.event import MAX_PAYLOAD_BYTES, HttpRequest
from infra.emulator.invoke import DIRECT
from infra.emulator.response import HttpResponse
from infra.smoke.answers import SYNTHETIC, NoAnswer


class Url:
    """Calling it asks. A context: the connections live as long."""

    def __init__(self, url: str, *, auth: httpx2.Auth | None, timeout_s: float) -> None:
        self._client = httpx2.Client(base_url=url, auth=auth, timeout=timeout_s, mounts=DIRECT, headers=[SYNTHETIC])
        self._timeout_s = timeout_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        ends = time.monotonic() + self._timeout_s
        try:
            with self._client.stream(
                request.method, request.path, headers=request.headers, content=request.body
            ) as reply:
                return HttpResponse(reply.status_code, tuple(reply.headers.multi_items()), self._body(reply, ends))
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error

    def _body(self, reply: httpx2.Response, ends: float) -> bytes:
        """httpx2 limits the time between two bytes; this one limits all of them."""
        body = b""
        for chunk in reply.iter_bytes():
            body += chunk
            if time.monotonic() > ends or len(body) > MAX_PAYLOAD_BYTES:
                raise NoAnswer(f"the answer has no end: {len(body)} bytes within {self._timeout_s:g} s")
        return body
