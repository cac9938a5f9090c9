"""Around every request: its id, one log line, its metrics as EMF, the Prometheus figures, and JSON even for a crash."""

import logging
import sys
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_app.figures import Figures

# Python 3.12 and later would add the name of the asyncio task, which says nothing, to every line.
logging.logAsyncioTasks = False  # type: ignore[attr-defined]  # unknown to 3.11, for which mypy checks

SERVICE = "pet-classifier"
NAMESPACE = "PetClassifier"


@dataclass
class Record:
    """What one request leaves behind; the routes fill it in. Never bytes, names or headers that a client sent."""

    request_id: str
    cold_start: bool
    began: float = field(default_factory=time.perf_counter)
    status: int = 500
    error_code: str | None = None
    prediction: dict[str, Any] = field(default_factory=dict)

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self.began) * 1000


class Telemetry:
    """One an app: its instruments, and whether the next request is the first."""

    def __init__(self, model_version: str, log_level: str) -> None:
        self.model_version = model_version
        self.cold_start = True
        # RFC 3339: in Lambda's JSON format, a line with another kind of time gets Lambda's time and level.
        self.logger = Logger(service=SERVICE, level=log_level, stream=sys.stdout, location=None, use_rfc3339=True)
        self.metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
        self.figures = Figures()

    def begin(self, scope: Scope) -> Record:
        """Lambda's request id where there is one, so that a client's id finds the platform's own log lines."""
        context = scope.get("aws.context")
        record = Record(getattr(context, "aws_request_id", None) or str(uuid.uuid4()), self.cold_start)
        self.cold_start = False
        return record

    def finish(self, record: Record, scope: Scope) -> None:
        total_ms = record.elapsed_ms()
        if record.prediction:
            self.figures.predicted(record.prediction["predicted_class"], total_ms / 1000)
        self._log(record, scope, total_ms)
        self._emit(record)

    def _log(self, record: Record, scope: Scope, total_ms: float) -> None:
        line = {
            "request_id": record.request_id,
            "method": scope["method"],
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

    def _emit(self, record: Record) -> None:
        """Embedded metric format: CloudWatch makes metrics of the lines without a call to its API.

        Predictions have a line of their own: in one record every metric would be billed by class.
        """
        metrics, prediction = self.metrics, record.prediction
        if prediction:
            metrics.add_dimension("model_version", self.model_version)
            metrics.add_dimension("class", prediction["predicted_class"])
            metrics.add_metric("Predictions", MetricUnit.Count, 1)
            metrics.add_metric("Unknown", MetricUnit.Count, int(prediction["unknown"]))
            metrics.add_metadata("request_id", record.request_id)
            metrics.flush_metrics()
            metrics.add_metric("InferenceLatency", MetricUnit.Milliseconds, prediction["inference_ms"])
        metrics.add_dimension("model_version", self.model_version)
        metrics.add_metric("ColdStart", MetricUnit.Count, int(record.cold_start))
        metrics.add_metric("Errors", MetricUnit.Count, int(record.status >= 400))
        metrics.add_metadata("request_id", record.request_id)
        metrics.flush_metrics()


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
        except Exception:  # whatever it was, the client gets JSON and the log gets the stack
            self.telemetry.logger.exception("unexpected error", extra={"request_id": record.request_id})
            if started:  # half an answer is out: only the server can cut the connection
                raise
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
