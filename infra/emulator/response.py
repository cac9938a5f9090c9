"""Convert the payload that a function returns to an HTTP response, as a function URL does.

Payload format 2.0: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-response-payload.
"""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from infra.emulator.event import HOP_BY_HOP

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class MalformedResponse(ValueError):
    """The payload is not an HTTP response; the message names the value and the expectation."""


@dataclass(frozen=True)
class HttpResponse:
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def to_response(payload: bytes) -> HttpResponse:
    """Return the response that the payload describes. JSON without `statusCode` becomes the body of a 200 response."""
    try:
        answer = json.loads(payload)
    except ValueError as error:
        raise MalformedResponse(f"{payload[:80]!r}: expected JSON") from error
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return HttpResponse(200, (("content-type", "application/json"),), payload)
    return HttpResponse(_status(answer["statusCode"]), tuple(_headers(answer)), _body(answer))


def _status(value: object) -> int:
    if isinstance(value, int) and 200 <= value <= 599:
        return value
    raise MalformedResponse(f"statusCode {value!r}: expected an integer from 200 to 599")


def _headers(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    headers, cookies = answer.get("headers") or {}, answer.get("cookies") or []
    if not isinstance(headers, dict) or not isinstance(cookies, list):
        raise MalformedResponse(f"headers {headers!r}, cookies {cookies!r}: expected an object and a list")
    for name, value in [*headers.items(), *(("set-cookie", cookie) for cookie in cookies)]:
        if not isinstance(value, str) or CONTROL_CHARACTER.search(value) or not HEADER_NAME.fullmatch(name):
            raise MalformedResponse(f"header {name!r}: {value!r}: expected a name and text on one line")
        if name.lower() not in HOP_BY_HOP:
            yield name.lower(), value


def _body(answer: dict[str, Any]) -> bytes:
    body = answer.get("body") or ""
    try:
        return base64.b64decode(body, validate=True) if answer.get("isBase64Encoded") else body.encode()
    except (AttributeError, TypeError, ValueError) as error:
        raise MalformedResponse(f"body {body!r:.80}: expected text, or base64 where isBase64Encoded is true") from error
