"""Read request bodies up to a limit. Every route that takes a body reads it with these functions."""

from collections.abc import AsyncIterator

from starlette.datastructures import Headers
from starlette.requests import Request

from lambda_app.errors import PhotoTooLarge
from lambda_app.uploads.encodings import Inflater, content_coding


async def read_body(request: Request, limit: int, reported_limit: int | None = None) -> bytes:
    """Return the whole decoded body. Raise the errors of `stream_body`."""
    return b"".join([piece async for piece in stream_body(request, limit, reported_limit)])


async def stream_body(request: Request, limit: int, reported_limit: int | None = None) -> AsyncIterator[bytes]:
    """Yield the decoded body as it arrives.

    Raise `PhotoTooLarge` before reading if the announced length exceeds `limit` bytes, and otherwise as soon as the
    decoded body exceeds it. The message states `reported_limit` instead of `limit` if it is given. Raise
    `UnsupportedType` for an unknown content encoding and `MalformedRequest` for a body that contradicts its encoding.
    """
    coding = content_coding(request.headers)
    check_size(content_length(request.headers), limit, reported_limit)
    inflater = Inflater(coding) if coding else None
    received = 0
    async for chunk in request.stream():
        for piece in inflater.feed(chunk) if inflater else (chunk,):
            received += len(piece)
            check_size(received, limit, reported_limit)
            yield piece
    if inflater:
        inflater.check_end()


def check_size(size: int, limit: int, reported_limit: int | None = None) -> None:
    """Raise `PhotoTooLarge` if `size` bytes exceed `limit`."""
    if size > limit:
        raise PhotoTooLarge(
            f"the request has {size} bytes or more; at most {reported_limit or limit} are accepted: send a smaller body"
        )


def content_length(headers: Headers) -> int:
    """Return the announced length of the body in bytes, or 0 if no valid length is announced."""
    digits = headers.get("content-length", "").lstrip("0")
    return int(digits[:20]) if digits.isdecimal() else 0  # int() refuses more than 4,300 digits


def media_type(request: Request) -> str:
    """Return the content type in lower case and without its parameters, or "" if there is none."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()
