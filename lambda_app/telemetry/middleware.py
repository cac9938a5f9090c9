"""Wrap every request: record it, return its id, answer crashes with JSON, and send no body for HEAD."""

import traceback

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_app.errors import RequestError
from lambda_app.telemetry.request_log import RequestRecord, Telemetry

NOSNIFF = (b"x-content-type-options", b"nosniff")  # browsers must not guess a content type other than the given one


class BrokenResponse(Exception):
    """A response failed after it had started. The message is the request id, under which the log has the stack."""


class TelemetryMiddleware:
    """Pure ASGI middleware that replaces Starlette's error middleware.

    Starlette's re-raises errors that it has answered, and Mangum would log them with their messages.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self.app, self.telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = self.telemetry.begin(scope)
        scope.setdefault("state", {})["record"] = record
        has_started = False

        async def send_with_id(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started, record.status = True, message["status"]
                message["headers"] = [*message["headers"], NOSNIFF, (b"x-request-id", record.request_id.encode())]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except ClientDisconnect:  # there is no client to answer; log nginx's status 499
            record.status, record.error_code = 499, "client_disconnected"
        except Exception as error:  # for any error, the client gets JSON and the log gets the stack
            fields = {"request_id": record.request_id, "error": type(error).__name__, "stack": _stack(error)}
            self.telemetry.logger.error("unexpected error", extra=fields)  # noqa: TRY400  # see _stack
            if has_started:  # part of the response is sent: only the server can close the connection
                raise BrokenResponse(record.request_id) from None
            response = error_response(
                scope, 500, "internal_error", "the request could not be answered; the error is logged"
            )
            await response(scope, receive, send_with_id)
        finally:
            self.telemetry.finish(record, scope)


class HeadMiddleware:
    """Pure ASGI middleware that answers HEAD with the status and headers of GET (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        await self.app(scope, receive, send_without_body if is_head else send)


def error_response(scope: Scope, status: int, code: str, message: str) -> JSONResponse:
    """Return an error, and record its code.

    All routes share one shape, except those under `/v2`: in the Open Inference Protocol, `error` is the message.
    """
    record: RequestRecord = scope["state"]["record"]
    record.error_code = code
    if f"{scope['path']}/".startswith("/v2/"):
        return JSONResponse({"error": message, "code": code, "request_id": record.request_id}, status)
    return JSONResponse({"error": {"code": code, "message": message, "request_id": record.request_id}}, status)


def request_error_response(scope: Scope, error: RequestError) -> JSONResponse:
    """Return the error with its `Retry-After`, and record its code."""
    response = error_response(scope, error.status, error.code, str(error))
    response.headers.update(retry_after_header(error))
    return response


def retry_after_header(error: RequestError) -> dict[str, str]:
    return {} if error.retry_after is None else {"retry-after": str(error.retry_after)}


def _stack(error: BaseException) -> str:
    """Return the stack, the cause's first, without the errors' messages, which may quote what a client sent."""
    cause = error.__cause__ or error.__context__
    before = f"{_stack(cause)}\nthen\n" if cause else ""
    return f"{before}{''.join(traceback.format_tb(error.__traceback__))}{type(error).__name__}"
