"""Around every request: its record, its id in the answer, JSON even for a crash, and no body for HEAD."""

import traceback

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_app.telemetry.request_log import Record, Telemetry

NOSNIFF = (b"x-content-type-options", b"nosniff")  # browsers must not guess another content type than the given one


class BrokenAnswer(Exception):
    """An answer broke off; the log says why under the request id, for a server that logs this error."""


def _stack(error: BaseException) -> str:
    """Which lines failed, the cause's first, without the errors' messages: these may quote what a client sent."""
    cause = error.__cause__ or error.__context__
    before = f"{_stack(cause)}\nthen\n" if cause else ""
    return f"{before}{''.join(traceback.format_tb(error.__traceback__))}{type(error).__name__}"


class TelemetryMiddleware:
    """Pure ASGI: Starlette's own error middleware re-raises what it answered, and Mangum would log it as its own."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self.app, self.telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = self.telemetry.begin(scope)
        scope.setdefault("state", {})["record"] = record
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started, record.status = True, message["status"]
                message["headers"] = [*message["headers"], NOSNIFF, (b"x-request-id", record.request_id.encode())]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except ClientDisconnect:  # nobody is left to answer; nginx's 499 in the log
            record.status, record.error_code = 499, "client_disconnected"
        except Exception as error:  # whatever it was, the client gets JSON and the log gets the stack
            about = {"request_id": record.request_id, "error": type(error).__name__, "stack": _stack(error)}
            self.telemetry.logger.error("unexpected error", extra=about)  # noqa: TRY400  # see _stack
            if started:  # half an answer is out: only the server can cut the connection
                raise BrokenAnswer(record.request_id) from None
            answer = error_response(
                record, 500, "internal_error", "the request could not be answered; the error is logged"
            )
            await answer(scope, receive, send_with_id)
        finally:
            self.telemetry.finish(record, scope)


class HeadMiddleware:
    """Pure ASGI, around everything: answer HEAD with the status and headers of GET alone (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        await self.app(scope, receive, send_without_body if is_head else send)


def error_response(record: Record, status: int, code: str, message: str) -> JSONResponse:
    """The one error shape."""
    record.error_code = code
    detail = {"code": code, "message": message, "request_id": record.request_id}
    return JSONResponse({"error": detail}, status)
