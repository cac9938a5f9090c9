"""Convert an HTTP request to the Lambda event that a function URL sends.

Payload format 2.0: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads.
Details that the page does not specify:

- The path stays percent-encoded, in `rawPath` and in `requestContext.http.path`: function URLs preserve the encoding
  (https://github.com/middleapi/standard-server/pull/93), and Mangum decodes `http.path` once.
- Only `text/*`, JSON, XML and JavaScript bodies are text; all others, including HTML forms, are base64
  (https://github.com/ministackorg/ministack/pull/766, measured on AWS).
- Cookies are only in `cookies`, not in `headers` (https://github.com/localstack/localstack/issues/7403).
"""

import argparse
import base64
import json
import mimetypes
import re
import sys
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import parse_qsl

# "6 MB each for request and response (synchronous)": https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MAX_PAYLOAD_BYTES = 6 * 1024 * 1024

URL_ID = "local"
DOMAIN = f"{URL_ID}.lambda-url.us-east-1.on.aws"
TEXT_TYPE = re.compile(r"text/|application/(json|xml|javascript)\s*(;|$)", re.IGNORECASE)
# RFC 9110, 7.6.1: these headers describe one connection, not the message.
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


@dataclass(frozen=True)
class HttpRequest:
    method: str
    path: str  # percent-encoded
    query: str = ""  # percent-encoded, without "?"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    scheme: str = "https"
    protocol: str = "HTTP/1.1"
    source_ip: str = "127.0.0.1"


def to_event(request: HttpRequest, *, request_id: str, now: datetime) -> dict[str, Any]:
    """Return the event of one request. `now` must be timezone-aware. Omit empty parts, as function URLs do."""
    headers = {"host": DOMAIN} | _combined((name.lower(), value) for name, value in request.headers)
    text = bool(TEXT_TYPE.match(headers.get("content-type", "")))
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.path,
        "rawQueryString": request.query,
        "cookies": _cookies(request.headers),
        "headers": _forwarded(headers, request),
        "queryStringParameters": _combined(parse_qsl(request.query, keep_blank_values=True)),
        "requestContext": _context(request, headers.get("user-agent", ""), request_id, now),
        **_encoded(request.body, text=text),
    }
    optional = {"cookies", "queryStringParameters", "body"}
    return {key: value for key, value in event.items() if value or key not in optional}


def to_payload(event: dict[str, Any]) -> bytes:
    """Return the payload for Lambda's Invoke API, whose length `MAX_PAYLOAD_BYTES` limits."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _combined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Join the values of repeated names with commas."""
    combined: dict[str, str] = {}
    for name, value in pairs:
        combined[name] = f"{combined[name]},{value}" if name in combined else value
    return combined


def _cookies(headers: Iterable[tuple[str, str]]) -> list[str]:
    parts = (part.strip() for name, value in headers if name.lower() == "cookie" for part in value.split(";"))
    return [part for part in parts if part]


def _forwarded(headers: dict[str, str], request: HttpRequest) -> dict[str, str]:
    kept = {name: value for name, value in headers.items() if name not in HOP_BY_HOP | {"cookie"}}
    return kept | {"x-forwarded-for": request.source_ip, "x-forwarded-proto": request.scheme}


def _context(request: HttpRequest, user_agent: str, request_id: str, now: datetime) -> dict[str, Any]:
    return {
        "accountId": "anonymous",  # the value for URLs with AuthType NONE
        "apiId": URL_ID,
        "authentication": None,
        "authorizer": None,
        "domainName": DOMAIN,
        "domainPrefix": URL_ID,
        "http": {
            "method": request.method,
            "path": request.path,
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": user_agent,
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": now.astimezone(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(now.timestamp() * 1000),
    }


def _encoded(body: bytes, *, text: bool) -> dict[str, Any]:
    """Return `body` and `isBase64Encoded`. Text that is not UTF-8 is sent as base64, because JSON cannot hold it."""
    try:
        if text:
            return {"body": body.decode(), "isBase64Encoded": False}
    except UnicodeDecodeError:
        pass
    return {"body": base64.b64encode(body).decode(), "isBase64Encoded": bool(body)}


def content_type(photo: PurePath) -> str:
    """Return the content type that the suffix of a file names."""
    # strict=False: Python 3.11 and 3.12 list WebP among the unregistered types.
    return mimetypes.guess_type(photo.name, strict=False)[0] or "application/octet-stream"


def predict_request(photo: Path) -> HttpRequest:
    """Return a `POST /predict` request with the photo as raw body."""
    return HttpRequest("POST", "/predict", headers=(("content-type", content_type(photo)),), body=photo.read_bytes())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.emulator.event", description=predict_request.__doc__)
    parser.add_argument("photo", type=Path)
    photo = parser.parse_args(arguments).photo
    try:
        event = to_event(predict_request(photo), request_id=str(uuid.uuid4()), now=datetime.now(UTC))
    except OSError as error:
        print(f"{photo}: {error.strerror}; expected a photo", file=sys.stderr)
        return 2
    print(to_payload(event).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
