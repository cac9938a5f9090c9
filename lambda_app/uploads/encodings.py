"""Decode compressed bodies (gzip, deflate) and photos sent as text (base64, data URLs, JSON)."""

import binascii
import zlib
from collections.abc import Iterator

from pydantic_core import from_json
from starlette.datastructures import Headers

from lambda_app.errors import BadField, MalformedRequest, UnsupportedType

CONTENT_CODINGS = ("gzip", "deflate", "identity")
PIECE = 65_536  # bytes to inflate at a time, so that a small body cannot fill the memory
WITH_HEADER = zlib.MAX_WBITS | 32  # zlib detects whether the header is gzip's or zlib's
WITHOUT_HEADER = -zlib.MAX_WBITS  # some clients send raw deflate: RFC 9110, section 8.4.1.2

BASE64URL_TO_BASE64 = bytes.maketrans(b"-_", b"+/")  # RFC 4648
WHITESPACE = b" \t\r\n"
# The escapes that base64 can need in a URL. Unescaping every sequence would take 1 GB for 6 MB of percent signs.
ESCAPES = {b"%2B": b"+", b"%2F": b"/", b"%3D": b"=", b"%2D": b"-", b"%5F": b"_", b"%20": b" ", b"%0D": b"", b"%0A": b""}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SCHEME = b"data:"
MAX_JSON_VALUES = 1_000  # parsing a few MB of empty lists would take hundreds of MB
FORM_COMMAND = "curl -F file=@cat.jpg"
RAW_COMMAND = "curl -H 'content-type: image/jpeg' --data-binary @cat.jpg"
EXPECTED = f'expected {{"image": "<base64>"}}; or send the bytes themselves: {FORM_COMMAND}, or {RAW_COMMAND}'


class Inflater:
    """Inflate a body in pieces of at most `PIECE` bytes."""

    def __init__(self, coding: str) -> None:
        self.coding = coding
        self.head = b""  # the bytes received until there are two, which tell zlib from raw deflate
        self.decompressor: zlib._Decompress | None = None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the decompressed pieces of a chunk. Raise `MalformedRequest` for invalid or trailing data."""
        if self.decompressor is None:
            self.head += chunk
            if len(self.head) < 2:
                return
            is_raw = self.coding == "deflate" and not _has_header(self.head)
            self.decompressor, chunk = zlib.decompressobj(WITHOUT_HEADER if is_raw else WITH_HEADER), self.head
        try:
            size = PIECE
            while chunk or size == PIECE:  # zlib may hold back output after it has consumed all input
                piece = self.decompressor.decompress(chunk, PIECE)
                chunk, size = self.decompressor.unconsumed_tail, len(piece)
                yield piece
        except zlib.error as error:
            raise MalformedRequest(f"{error}; expected a body in {self.coding}, as content-encoding states") from error
        if self.decompressor.unused_data:
            raise MalformedRequest(f"data follows the {self.coding} stream; expected a single stream")

    def check_end(self) -> None:
        """Raise `MalformedRequest` if the body ended before its compressed stream did."""
        if self.decompressor is None or not self.decompressor.eof:
            raise MalformedRequest(f"the {self.coding} stream is truncated; expected the complete stream")


def content_coding(headers: Headers) -> str | None:
    """Return the compression of the body, "gzip" or "deflate", or None. Raise `UnsupportedType` for any other."""
    value = ",".join(headers.getlist("content-encoding"))
    if not value:
        return None
    names = [name.strip().lower().removeprefix("x-") for name in value.split(",")]  # x-gzip: RFC 9110, 8.4.1.3
    codings = [name for name in names if name not in {"", "identity"}]
    if len(codings) > 1 or not set(codings) <= set(CONTENT_CODINGS):
        raise UnsupportedType(
            f"the content encoding is {value!r:.80}; "
            f"expected one of {', '.join(CONTENT_CODINGS)}; or send the body uncompressed"
        )
    return codings[0] if codings else None


def _has_header(head: bytes) -> bool:
    """Return whether the data starts with the header of gzip (RFC 1952) or zlib (RFC 1950)."""
    return head[:2] == b"\x1f\x8b" or (head[0] & 15 == 8 and int.from_bytes(head[:2]) % 31 == 0)


def extract_photo(body: bytes) -> bytes:
    """Return the photo of a data URL or of JSON. Return any other body unchanged.

    Raise `MalformedRequest` for base64 that cannot be decoded, and `BadField` for JSON without a photo.
    """
    start = body[:64].lstrip(BYTE_ORDER_MARK + WHITESPACE)
    if start.startswith(b"{"):
        return _decode_text(_image_field(body.lstrip(BYTE_ORDER_MARK + WHITESPACE)))
    if start[: len(SCHEME)].lower() == SCHEME:
        return _decode_text(body.lstrip(BYTE_ORDER_MARK + WHITESPACE))
    return body


def decode_base64(text: bytes) -> bytes:
    """Decode base64 or base64url, with or without whitespace and padding. Raise `ValueError` if it is invalid."""
    digits = text.translate(BASE64URL_TO_BASE64, WHITESPACE).rstrip(b"=")
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4), strict_mode=True)


def _image_field(body: bytes) -> bytes:
    """Return the text of the JSON's field `image`. Raise `BadField` if there is none."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
        raise BadField(f"the JSON has over {MAX_JSON_VALUES} values; {EXPECTED}")
    try:
        fields = from_json(body.translate(None, b"\t\r\n"))  # a shell may leave raw line breaks in the string
    except ValueError as error:
        raise BadField(f"the JSON cannot be read: {error}; {EXPECTED}") from error
    if "image" not in fields:
        raise BadField(f"the JSON has no field 'image' (its fields: {', '.join(fields)[:200] or 'none'}); {EXPECTED}")
    if not isinstance(fields["image"], str):
        raise BadField(f"the JSON's field 'image' is {type(fields['image']).__name__}; {EXPECTED}")
    return fields["image"].encode()


def _decode_text(text: bytes) -> bytes:
    """Decode base64 or a data URL (RFC 2397). Raise `MalformedRequest` if it is invalid."""
    if text[: len(SCHEME)].lower() == SCHEME:
        head, _, text = text.partition(b",")
        if not head.rstrip().lower().endswith(b";base64"):
            raise MalformedRequest(
                f"the data URL begins with {head[:40].decode(errors='replace')!r}; expected data:image/jpeg;base64,…"
            )
        if text.count(b"%") > len(text) // 10:  # one in twenty characters of base64 may need an escape
            raise MalformedRequest(f"over 10 % of the data URL are escapes; {EXPECTED}")
        for escape, character in ESCAPES.items() if b"%" in text else ():
            text = text.replace(escape, character).replace(escape.lower(), character)
    try:
        return decode_base64(text)
    except ValueError as error:
        raise MalformedRequest(f"the photo's base64 cannot be decoded: {error}; {EXPECTED}") from error
