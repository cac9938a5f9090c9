"""Around every request: its id, one log line, its metrics as EMF, the Prometheus figures, and JSON even for a crash."""

import logging
import sys
import time
import traceback
import uuid
from dataclasses import dataclass, field
from http import HTTPMethod
from typing import Any

from aws_lambda_powertools.logging import Logger
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_app.emf import Metrics, count, milliseconds
from lambda_app.figures import Figures
from lambda_app.recent import Entry, recent
from lambda_app.settings import Settings

# Nobody asks a line for these. The asyncio task's name, of Python 3.12 and later, would even be written.
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
logging.logAsyncioTasks = False  # type: ignore[attr-defined]  # unknown to 3.11, for which mypy checks

METHODS = frozenset(HTTPMethod)  # a client may send any other word


@dataclass
class Record:
    """What one request leaves behind; the routes fill it in. Never bytes, names or headers that a client sent."""

    request_id: str
    cold_start: bool
    began: float = field(default_factory=time.perf_counter)
    status: int = 500
    error_code: str | None = None
    prediction: dict[str, Any] = field(default_factory=dict)
    feedback: dict[str, str] = field(default_factory=dict)

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self.began) * 1000


class Telemetry:
    """One an app: its instruments, and whether the next request is the first."""

    def __init__(self, model_version: str, settings: Settings) -> None:
        self.model_version = model_version
        self.cold_start = True
        # RFC 3339: in Lambda's JSON format, a line with another kind of time gets Lambda's time and level.
        self.logger = Logger(
            service=settings.service_name,
            level=settings.log_level,
            stream=sys.stdout,
            location=None,
            use_rfc3339=True,
        )
        self.metrics = Metrics({"model_version": model_version, "service": settings.service_name})
        self.figures = Figures(model_version)
        self.recent = recent()

    def begin(self, scope: Scope) -> Record:
        """Lambda's request id where there is one, so that a client's id finds the platform's own log lines."""
        context = scope.get("aws.context")
        record = Record(getattr(context, "aws_request_id", None) or str(uuid.uuid4()), self.cold_start)
        self.cold_start = False
        return record

    def finish(self, record: Record, scope: Scope) -> None:
        total_ms = record.elapsed_ms()
        self._count(record, total_ms)
        self._log(record, scope, total_ms)
        self._emit(record)

    def _count(self, record: Record, total_ms: float) -> None:
        if prediction := record.prediction:
            self.figures.predicted(prediction["predicted_class"], total_ms / 1000, unknown=prediction["unknown"])
            self.recent.append(Entry(time.time(), total_ms, prediction))
        if record.feedback:
            self.figures.feedback[record.feedback["label"]] += 1
        if record.error_code:
            self.figures.errors[record.error_code] += 1

    def _log(self, record: Record, scope: Scope, total_ms: float) -> None:
        line = {
            "request_id": record.request_id,
            "method": scope["method"] if scope["method"] in METHODS else None,
            "route": getattr(scope.get("route"), "path", None),  # the pattern; a raw path may hold anything
            "status": record.status,
            "cold_start": record.cold_start,
            "model_version": self.model_version,
            "total_ms": round(total_ms, 3),
        }
        if record.error_code:
            line["error_code"] = record.error_code
        write = self.logger.warning if record.status >= 400 else self.logger.info
        write("request", extra=line | record.prediction)
        if record.feedback:
            about = {"request_id": record.request_id, "model_version": self.model_version}
            self.logger.info("feedback", extra=about | record.feedback)

    def _emit(self, record: Record) -> None:
        """Only two metrics are by class, because each class is billed as a metric of its own."""
        overall = {"ColdStart": count(record.cold_start), "Errors": count(record.status >= 400)}
        by_class = {}
        if prediction := record.prediction:
            by_class = {"Predictions": count(1), "Unknown": count(prediction["unknown"])}
            overall["InferenceLatency"] = milliseconds(prediction["inference_ms"])
        if record.feedback:
            overall["Feedback"] = count(1)
        self.metrics.put(overall, by_class, record.prediction.get("predicted_class", ""), record.request_id)


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
                message["headers"] = [*message["headers"], (b"x-request-id", record.request_id.encode())]
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


def error_response(record: Record, status: int, code: str, message: str) -> JSONResponse:
    """The one error shape."""
    record.error_code = code
    detail = {"code": code, "message": message, "request_id": record.request_id}
    return JSONResponse({"error": detail}, status)
