"""Requests to ask with, answers as flat dictionaries that can be compared and printed, and the check of such a pair."""

import json
import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.emulator.event import HttpRequest
from infra.emulator.response import HttpResponse

Ask = Callable[[HttpRequest], HttpResponse]  # raises NoAnswer
Pair = tuple[dict[str, Any], dict[str, Any]]  # what is expected and what came
BOUNDARY = "smoke"
SYNTHETIC = ("x-synthetic", "true")  # such requests are nobody's own: the report leaves them out
FORM = f"multipart/form-data; boundary={BOUNDARY}"


class NoAnswer(Exception):
    """The service gave no HTTP response; the message says why, in one line."""


@dataclass(frozen=True)
class Check:
    name: str
    compare: Callable[[], Pair]  # asks; the check passes where both are equal


def get(path: str, **headers: str) -> HttpRequest:
    named = ((name.replace("_", "-"), value) for name, value in headers.items())
    return HttpRequest("GET", path, headers=(("accept", "application/json"), *named))


def post(content_type: str, body: bytes) -> HttpRequest:
    return HttpRequest("POST", "/predict", headers=(("content-type", content_type),), body=body)


def raw(photo: Path) -> HttpRequest:
    return post(_type(photo), photo.read_bytes())


def multipart(photo: Path, field: str = "file") -> HttpRequest:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{photo.name}"\r\n'
    head += f"Content-Type: {_type(photo)}\r\n\r\n"
    return post(FORM, head.encode() + photo.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode())


def _type(photo: Path) -> str:
    return mimetypes.guess_type(photo.name)[0] or "application/octet-stream"


def header(response: HttpResponse, name: str) -> str | None:
    return next((value for given, value in response.headers if given.lower() == name), None)


def media_type(response: HttpResponse) -> str:
    return (header(response, "content-type") or "").split(";")[0].strip().lower()


def text(response: HttpResponse) -> str:
    return response.body.decode("utf-8", "replace")


def json_of(response: HttpResponse) -> Any:
    """The body, or None where it is no JSON."""
    try:
        return json.loads(response.body)
    except ValueError:
        return None


def at(value: Any, *keys: str) -> Any:
    """What is at the end of these keys, or None."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def fields(response: HttpResponse, names: list[str]) -> dict[str, Any]:
    """HTTP status, media type and these fields of the JSON object; of a body without any its beginning."""
    seen = {"http": int(response.status), "type": media_type(response)}
    body = json_of(response)
    if isinstance(body, dict) and (not names or body.keys() & set(names)):
        return seen | {name: body.get(name) for name in names}
    return seen | {"body": text(response)[:200]}
