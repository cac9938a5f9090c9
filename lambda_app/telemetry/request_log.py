"""What a request leaves behind: its log line, its metrics as EMF, the Prometheus figures."""

import logging
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPMethod
from typing import Any

from aws_lambda_powertools.logging import Logger
from starlette.types import Scope

from lambda_app.admission import IsDisconnected
from lambda_app.settings import Settings
from lambda_app.telemetry.emf import Metric, Metrics, count, milliseconds
from lambda_app.telemetry.prediction_log import Entry, PredictionIds, recent
from lambda_app.telemetry.prometheus import Figures

# Nobody asks a line for these. The asyncio task's name, of Python 3.12 and later, would even be written.
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
logging.logAsyncioTasks = False  # type: ignore[attr-defined]  # unknown to 3.11, for which mypy checks

METHODS = frozenset(HTTPMethod)  # a client may send any other word
SYNTHETIC = (b"x-synthetic", b"true")  # a header: nobody's own photo, but a smoke test's or a rehearsal's


@dataclass
class Record:
    """What one request leaves behind; the routes fill it in. Never bytes, names or headers that a client sent."""

    request_id: str
    cold_start: bool
    synthetic: bool
    began: float = field(default_factory=time.perf_counter)
    status: int = 500
    error_code: str | None = None
    photos: int | None = None  # that came in one request; None for one alone
    failed: list[str] = field(default_factory=list)  # error codes of those that could not be answered
    predictions: list[dict[str, Any]] = field(default_factory=list)  # of those together, each with an id of its own
    feedback: dict[str, str] = field(default_factory=dict)
    is_disconnected: IsDisconnected | None = None  # set by the server's own queue, once a body is expected

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
        self.prediction_ids = PredictionIds()

    def begin(self, scope: Scope) -> Record:
        """Lambda's request id where there is one, so that a client's id finds the platform's own log lines."""
        request_id = getattr(scope.get("aws.context"), "aws_request_id", None) or str(uuid.uuid4())
        synthetic = SYNTHETIC in map(tuple, scope["headers"])
        record = Record(request_id, self.cold_start, synthetic)
        self.cold_start = False
        return record

    def finish(self, record: Record, scope: Scope) -> None:
        total_ms = record.elapsed_ms()
        self._count(record, total_ms)
        self._log(record, scope, total_ms)
        self._emit(record)

    def _count(self, record: Record, total_ms: float) -> None:
        share_ms = total_ms / (record.photos or 1)  # of photos that came together, each has its part
        for prediction in record.predictions:
            self.figures.predicted(prediction["predicted_class"], share_ms / 1000, unknown=prediction["unknown"])
            self.recent.append(Entry(time.time(), share_ms, prediction))
            self.prediction_ids.add(prediction["request_id"])
        if record.feedback:
            # Another instance may have made the prediction, or nobody: only the report, which reads all logs, can tell.
            is_own = record.feedback["feedback_for"] in self.prediction_ids
            counts = self.figures.feedback if is_own else self.figures.unmatched_feedback
            counts[record.feedback["label"]] += 1
        if record.error_code and record.error_code not in record.failed:  # under /v2 a bad photo fails the request
            self.figures.errors[record.error_code] += 1
        self.figures.errors.update(record.failed)

    def _log(self, record: Record, scope: Scope, total_ms: float) -> None:
        about: dict[str, Any] = {"request_id": record.request_id, "model_version": self.model_version}
        if record.synthetic:
            about["synthetic"] = True
        line = about | {
            "method": scope["method"] if scope["method"] in METHODS else None,
            "route": getattr(scope.get("route"), "path", None),  # the pattern; a raw path may hold anything
            "status": record.status,
            "cold_start": record.cold_start,
            "total_ms": round(total_ms, 3),
        }
        if record.error_code:
            line["error_code"] = record.error_code
        if record.photos is not None:
            line |= {"photos": record.photos, "failed": Counter(record.failed)}
        elif record.predictions:
            line |= record.predictions[0]
        write = self.logger.warning if record.status >= 400 or record.failed else self.logger.info
        write("request", extra=line)
        if record.photos is not None:
            for prediction in record.predictions:
                self.logger.info("prediction", extra=about | {"batch_id": record.request_id} | prediction)
        if record.feedback:
            self.logger.info("feedback", extra=about | record.feedback)

    def _emit(self, record: Record) -> None:
        """Only two metrics are by class, because each class is billed as a metric of its own."""
        overall = {"ColdStart": count(record.cold_start), "Errors": count(record.status >= 400)}
        if record.predictions:
            overall["InferenceLatency"] = milliseconds(*(each["inference_ms"] for each in record.predictions))
        if record.feedback:
            overall["Feedback"] = count(1)
        if record.failed:
            overall["FailedPhotos"] = count(len(record.failed))
        by_class: dict[str, dict[str, Metric]] = {}
        for each in [] if record.synthetic else record.predictions:  # or a rehearsal would ring alarms
            metrics = by_class.setdefault(each["predicted_class"], {"Predictions": count(), "Unknown": count()})
            metrics["Predictions"]["Value"].append(1.0)
            metrics["Unknown"]["Value"].append(float(each["unknown"]))
        self.metrics.put(overall, by_class, record.request_id)
