"""Bounded reading of request bodies, compressed or not, for every route that takes a body."""

import zlib
from collections.abc import AsyncIterator, Iterator

from starlette.requests import Request

from lambda_app.errors import MalformedRequest, PhotoTooLarge, UnsupportedType

ENCODINGS = ("gzip", "deflate", "identity")
PIECE = 65_536  # bytes that are inflated at a time, so that a small body cannot fill the memory
WRAPPED = zlib.MAX_WBITS | 32  # with the header of gzip or of zlib, which zlib detects
BARE = -zlib.MAX_WBITS  # deflate without a header, as some clients send it: RFC 9110, section 8.4.1.2


async def read_body(request: Request, limit: int, accepted: int | None = None) -> bytes:
    """Return the whole body, decoded. Raise as `stream_body`."""
    return b"".join([piece async for piece in stream_body(request, limit, accepted)])


async def stream_body(request: Request, limit: int, accepted: int | None = None) -> AsyncIterator[bytes]:
    """Yield the body as it arrives, decoded.

    Raise `PhotoTooLarge` at the first byte over `limit`, or before reading if the announced length is over it; the
    message names `accepted` bytes instead where given. Raise `UnsupportedType` for an unknown content encoding and
    `MalformedRequest` for a body that is not in the one it names.
    """
    inflater = _inflater(request)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and float(announced) > limit:  # int() refuses 4,300 digits
        raise too_large(announced[:20], accepted or limit)
    received = 0
    async for chunk in request.stream():
        for piece in inflater.feed(chunk) if inflater else (chunk,):
            received += len(piece)
            if received > limit:
                raise too_large(str(received), accepted or limit)
            yield piece
    if inflater:
        inflater.check_end()


def too_large(size: str, accepted: int) -> PhotoTooLarge:
    return PhotoTooLarge(f"the request has {size} bytes or more; at most {accepted} are accepted: send a smaller body")


class _Inflater:
    """Inflate a body in pieces of at most `PIECE` bytes."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.head = b""  # the first byte, until the second arrives: both tell the kind of deflate
        self.decompressor: zlib._Decompress | None = None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        if self.decompressor is None:
            self.head += chunk
            if len(self.head) < 2:
                return
            bare = self.encoding == "deflate" and not _has_header(self.head)
            self.decompressor, chunk = zlib.decompressobj(BARE if bare else WRAPPED), self.head
        try:
            size = PIECE
            while chunk or size == PIECE:  # zlib may hold output back after it has used all input
                piece = self.decompressor.decompress(chunk, PIECE)
                chunk, size = self.decompressor.unconsumed_tail, len(piece)
                yield piece
        except zlib.error as error:
            raise MalformedRequest(f"{error}; expected a body in {self.encoding}, as content-encoding says") from error
        if self.decompressor.unused_data:
            raise MalformedRequest(f"something follows the {self.encoding} data; expected one stream and no more")

    def check_end(self) -> None:
        """Raise `MalformedRequest` if the body ended before its compressed data did."""
        if self.decompressor is None or not self.decompressor.eof:
            raise MalformedRequest(f"the {self.encoding} data breaks off; expected all of it")


def _inflater(request: Request) -> _Inflater | None:
    given = ",".join(request.headers.getlist("content-encoding"))
    if not given:
        return None
    names = [name.strip().lower().removeprefix("x-") for name in given.split(",")]  # x-gzip: RFC 9110, 8.4.1.3
    codings = [name for name in names if name not in {"", "identity"}]
    if len(codings) > 1 or not set(codings) <= set(ENCODINGS):
        raise UnsupportedType(
            f"the content encoding is {given!r:.80}; expected one of {', '.join(ENCODINGS)}, or send the body as it is"
        )
    return _Inflater(codings[0]) if codings else None


def _has_header(head: bytes) -> bool:
    """Tell whether it is gzip's header (RFC 1952) or zlib's (RFC 1950)."""
    return head[:2] == b"\x1f\x8b" or (head[0] & 15 == 8 and int.from_bytes(head[:2]) % 31 == 0)
