"""Wrap every request: record it, return its id, and answer crashes with JSON."""

import traceback

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_app.error_responses import error_response
from lambda_app.telemetry.request_log import Telemetry

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


def _stack(error: BaseException) -> str:
    """Return the stack, the cause's first, without the errors' messages, which may quote what a client sent."""
    cause = error.__cause__ or error.__context__
    before = f"{_stack(cause)}\nthen\n" if cause else ""
    return f"{before}{''.join(traceback.format_tb(error.__traceback__))}{type(error).__name__}"
