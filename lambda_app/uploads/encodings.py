"""Photos as text: a data URL, or JSON with base64."""

import binascii

from pydantic_core import from_json

from lambda_app.errors import BadField, MalformedRequest

STANDARD = bytes.maketrans(b"-_", b"+/")  # base64url to base64: RFC 4648
BLANKS = b" \t\r\n"
# What a client may escape of base64 in a URL. Unescaping everything would take 1 GB for 6 MB of percent signs.
ESCAPES = {b"%2B": b"+", b"%2F": b"/", b"%3D": b"=", b"%2D": b"-", b"%5F": b"_", b"%20": b" ", b"%0D": b"", b"%0A": b""}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SCHEME = b"data:"
MAX_VALUES = 1_000  # of the JSON: a few MB of empty lists would take hundreds of MB
FORM_COMMAND = "curl -F file=@cat.jpg"
RAW_COMMAND = "curl -H 'content-type: image/jpeg' --data-binary @cat.jpg"
EXPECTED = f'expected {{"image": "<base64>"}}; or send the bytes themselves: {FORM_COMMAND}, or {RAW_COMMAND}'


def decode_photo(body: bytes) -> bytes:
    """Return the photo of a data URL or of JSON; any other body is returned as it is.

    Raise `MalformedRequest` for base64 that cannot be decoded, and `BadField` for JSON without a photo.
    """
    start = body[:64].lstrip(BYTE_ORDER_MARK + BLANKS)
    if start.startswith(b"{"):
        return _of_text(_image(body.lstrip(BYTE_ORDER_MARK + BLANKS)))
    if start[: len(SCHEME)].lower() == SCHEME:
        return _of_text(body.lstrip(BYTE_ORDER_MARK + BLANKS))
    return body


def decode_base64(text: bytes) -> bytes:
    """Decode base64 or base64url, with or without line breaks and padding. Raise `ValueError`."""
    digits = text.translate(STANDARD, BLANKS).rstrip(b"=")
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4), strict_mode=True)


def _image(body: bytes) -> bytes:
    """Return the text of the JSON's field `image`."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise BadField(f"the JSON has over {MAX_VALUES} values; {EXPECTED}")
    try:
        given = from_json(body.translate(None, b"\t\r\n"))  # JSON from a shell may have bare line breaks in the string
    except ValueError as error:
        raise BadField(f"the JSON cannot be read: {error}; {EXPECTED}") from error
    if "image" not in given:
        raise BadField(f"the JSON has no field 'image' (its fields: {', '.join(given)[:200] or 'none'}); {EXPECTED}")
    if not isinstance(given["image"], str):
        raise BadField(f"the JSON's field 'image' is {type(given['image']).__name__}; {EXPECTED}")
    return given["image"].encode()


def _of_text(text: bytes) -> bytes:
    """Decode base64 or a data URL (RFC 2397). Raise `MalformedRequest`."""
    if text[: len(SCHEME)].lower() == SCHEME:
        head, _, text = text.partition(b",")
        if not head.rstrip().lower().endswith(b";base64"):
            begins = head[:40].decode(errors="replace")
            raise MalformedRequest(f"the data URL begins with {begins!r}; expected data:image/jpeg;base64,…")
        if text.count(b"%") > len(text) // 10:  # a twentieth of base64's characters may be escaped
            raise MalformedRequest(f"the data URL is escaped almost everywhere; expected base64; {EXPECTED}")
        for escape, character in ESCAPES.items() if b"%" in text else ():
            text = text.replace(escape, character).replace(escape.lower(), character)
    try:
        return decode_base64(text)
    except ValueError as error:
        raise MalformedRequest(f"the photo's base64 cannot be decoded: {error}; {EXPECTED}") from error
