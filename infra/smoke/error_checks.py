"""Every error that a client can cause: its status and code, in the one shape, without our insides."""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from infra.emulator.event import HttpRequest
from infra.emulator.response import HttpResponse
from infra.smoke.answers import FORM, Ask, Check, Pair, at, fields, get, json_of, multipart, post, text
from infra.smoke.expected import SAMPLES

CAT = SAMPLES / "cat.jpg"
JPEG = "image/jpeg"
SHAPE = ["code", "message", "request_id"]
STACK = re.compile(r"Traceback \(most recent call last\)|File \\*\"[^\"]+\", line \d+")
# More than the function's limit of 4.5 MB, and in base64 still less than the 6 MB that Lambda takes.
TOO_MANY_BYTES = 4_600_000


def text_feedback() -> HttpRequest:
    """Feedback as a page of another site could send it."""
    return HttpRequest("POST", "/feedback", headers=(("content-type", "text/plain"),), body=b"{}")


# Not here, because no client can cause them: `bad_field`, `internal_error`.
ERRORS: dict[str, tuple[int, str, Callable[[], HttpRequest]]] = {
    "an empty photo": (400, "no_file", lambda: post(JPEG, b"")),
    "a form without a file": (400, "no_file", lambda: multipart(CAT, field="other")),
    "no form": (400, "bad_request", lambda: post(FORM, b"no form")),
    "no such route": (404, "not_found", lambda: get("/nowhere")),
    "no such method": (405, "method_not_allowed", lambda: HttpRequest("DELETE", "/predict")),
    "too many pixels": (413, "too_large", lambda: post("image/png", many_pixels())),
    "too many bytes": (413, "too_large", lambda: post(JPEG, bytes(TOO_MANY_BYTES))),
    "no image": (415, "unsupported_image", lambda: post(JPEG, b"no photo")),
    "no image's type": (415, "unsupported_image", lambda: post("text/plain", b"no photo")),
    "feedback that is no JSON": (415, "unsupported_media_type", text_feedback),
    "half a photo": (422, "damaged_image", lambda: post(JPEG, CAT.read_bytes()[:2000])),
}


def error_checks(ask: Ask) -> Iterator[Check]:
    for name, (status, code, request) in ERRORS.items():
        yield Check(f"{status} {code}: {name}", partial(_error, ask, status, code, request))


def _error(ask: Ask, status: int, code: str, request: Callable[[], HttpRequest]) -> Pair:
    response = ask(request())
    wanted = {"http": status, "type": "application/json", "code": code, "error": SHAPE, "insides": None}
    return wanted, fields(response, []) | _shown(response)


def _shown(response: HttpResponse) -> dict[str, Any]:
    """The code, the fields that hold text, and a stack trace where there is one."""
    body = json_of(response)
    error = at(body, "error")
    if not isinstance(error, dict) or len(body) > 1:
        return {"body": text(response)[:200]}
    held = sorted(name for name, value in error.items() if value and isinstance(value, str))
    stack = STACK.search(text(response))
    return {"code": error.get("code"), "error": held, "insides": stack and stack[0]}


def many_pixels() -> bytes:
    """The head of a PNG of 2.5 billion; nothing may decode it."""
    head = struct.pack(">IIBBBBB", 50_000, 50_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
