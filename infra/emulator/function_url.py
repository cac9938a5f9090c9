"""Emulate a function URL: an ASGI app that sends every HTTP request to a function as an event.

If the function fails, the app answers 502 and `Internal Server Error` as AWS does, but in the project's error format,
and logs the reason.
"""

import json
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from infra.emulator.event import MAX_PAYLOAD_BYTES, HttpRequest, to_event, to_payload
from infra.emulator.invoke import LONGEST_INVOCATION_S, Function, InvokeError, check_size
from infra.emulator.response import HttpResponse

logger = logging.getLogger(__name__)
# AWS's response to a request without a valid signature.
FORBIDDEN = HttpResponse(HTTPStatus.FORBIDDEN, (("content-type", "application/json"),), b'{"Message":"Forbidden"}')
Authorized = Callable[[HttpRequest], bool]


def anyone(_: HttpRequest) -> bool:
    """Allow every request, as AuthType NONE does."""
    return True


def create_app(
    url: str,
    *,
    timeout_s: float = LONGEST_INVOCATION_S,
    authorized: Authorized = anyone,
) -> ASGIApp:
    """Return the ASGI app for a function.

    `url`: the function's Invoke URL, from `infra.emulator.invoke.invoke_url`.
    `authorized`: returns whether a request may pass, as with AuthType AWS_IAM. The event never names the caller.
    """
    function = Function(url, timeout_s)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(function, receive, send)
        else:
            await _http(function, authorized, scope, receive, send)

    return app


async def _lifespan(function: Function, receive: Receive, send: Send) -> None:
    await receive()
    async with function:
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _http(function: Function, authorized: Authorized, scope: Scope, receive: Receive, send: Send) -> None:
    request_id = str(uuid.uuid4())
    try:
        request = _request(scope, await _body(Request(scope, receive)))
        event = to_event(request, request_id=request_id, now=datetime.now(UTC))
        response = await function.invoke(to_payload(event)) if authorized(request) else FORBIDDEN
    except ClientDisconnect:
        return  # there is nothing to invoke or answer
    except InvokeError as error:
        response = _error(error, request_id)
    await _send(send, scope["method"], response)


async def _body(request: Request) -> bytes:
    """Return the body. Read one over the limit to its end, because some clients read a response only after sending."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= MAX_PAYLOAD_BYTES:
            chunks.append(chunk)
    check_size(size)
    return b"".join(chunks)


def _request(scope: Scope, body: bytes) -> HttpRequest:
    return HttpRequest(
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
        body=body,
        scheme=scope["scheme"],
        protocol=f"HTTP/{scope['http_version']}",
        source_ip=scope["client"][0],
    )


def _error(error: InvokeError, request_id: str) -> HttpResponse:
    message = str(error)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.warning("%s %s: %s", request_id, error.code, error)
        message = "Internal Server Error"  # clients must not see the function's stack trace
    body = {"error": {"code": error.code, "message": message, "request_id": request_id}}
    return HttpResponse(error.status, (("content-type", "application/json"),), json.dumps(body).encode())


async def _send(send: Send, method: str, response: HttpResponse) -> None:
    """Send the response. Set `content-length` to the body's length, except for HEAD, where the function may set it."""
    never_a_body = response.status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
    body = b"" if never_a_body else response.body
    headers = [(name.encode(), value.encode("utf-8", "replace")) for name, value in response.headers]
    if body or not (never_a_body or method == "HEAD"):
        headers = [(name, value) for name, value in headers if name != b"content-length"]
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": int(response.status), "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
