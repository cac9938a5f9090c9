"""Build requests, and read responses as flat dictionaries that can be compared and printed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from urllib3 import encode_multipart_formdata

from infra.emulator.event import HttpRequest, content_type
from infra.emulator.response import HttpResponse

Ask = Callable[[HttpRequest], HttpResponse]  # raises NoAnswer
MAX_BODY_CHARACTERS = 200


class NoAnswer(Exception):
    """The service sent no HTTP response; the message gives the reason in one line."""


def get(path: str, **headers: str) -> HttpRequest:
    """Return a GET request that asks for JSON. Underscores in names of headers become hyphens."""
    extra = ((name.replace("_", "-"), value) for name, value in headers.items())
    return HttpRequest("GET", path, headers=(("accept", "application/json"), *extra))


def post(media_type: str, body: bytes, path: str = "/predict") -> HttpRequest:
    return HttpRequest("POST", path, headers=(("content-type", media_type),), body=body)


def post_multipart(photo: Path, field: str = "file") -> HttpRequest:
    """Return a `POST /predict` request with the photo in a multipart form."""
    body, media_type = encode_multipart_formdata({field: (photo.name, photo.read_bytes(), content_type(photo))})
    return post(media_type, body)


def header(response: HttpResponse, name: str) -> str | None:
    """Return the first header of this lower-case name, or None."""
    return next((value for key, value in response.headers if key.lower() == name), None)


def media_type(response: HttpResponse) -> str:
    """Return the content type without its parameters, in lower case."""
    return (header(response, "content-type") or "").split(";")[0].strip().lower()


def text(response: HttpResponse) -> str:
    """Return the body as text; bytes that are not UTF-8 become U+FFFD."""
    return response.body.decode("utf-8", "replace")


def json_of(response: HttpResponse) -> Any:
    """Return the decoded body, or None if it is not JSON."""
    try:
        return json.loads(response.body)
    except ValueError:
        return None


def at(value: Any, *keys: str) -> Any:
    """Return the value at this path of keys, or None if there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def fields(response: HttpResponse, names: list[str]) -> dict[str, Any]:
    """Return the HTTP status, the media type and the named fields of the JSON object.

    If the body has none of the fields, return its first `MAX_BODY_CHARACTERS` characters instead.
    """
    found = {"http": int(response.status), "type": media_type(response)}
    body = json_of(response)
    if isinstance(body, dict) and (not names or body.keys() & set(names)):
        return found | {name: body.get(name) for name in names}
    return found | {"body": text(response)[:MAX_BODY_CHARACTERS]}
