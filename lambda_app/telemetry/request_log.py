"""Record what happens in a request, and write it to the log and the metrics when the request ends."""

import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from http import HTTPMethod
from typing import Any

from starlette.types import Scope

from lambda_app.admission import IsDisconnected
from lambda_app.settings import Settings
from lambda_app.telemetry import fields
from lambda_app.telemetry.emf import Metric, Metrics, count, milliseconds
from lambda_app.telemetry.fields import BatchPredictionFields, CommonFields, FeedbackFields, RequestFields
from lambda_app.telemetry.logger import JsonLogger
from lambda_app.telemetry.prediction_log import RecentPrediction
from lambda_app.telemetry.prometheus import InstanceMetrics

MAX_PREDICTIONS = 100  # that `GET /prediction-log` shows
MAX_IDS = 10_000  # of predictions, with which feedback is matched

METHODS = frozenset(HTTPMethod)  # a client may send any other word
SYNTHETIC = tuple(part.encode() for part in fields.SYNTHETIC_HEADER)


@dataclass
class RequestRecord:
    """Collect what happens in one request. No field contains bytes, names or headers from a client."""

    request_id: str
    cold_start: bool
    synthetic: bool
    began: float = field(default_factory=time.perf_counter)
    status: int = 500
    error_code: str | None = None
    photos: int | None = None  # number of photos in a batch; None for a single photo
    failed: list[str] = field(default_factory=list)  # error codes of a batch's failed photos
    predictions: list[dict[str, Any]] = field(default_factory=list)  # each has an id of its own in a batch
    feedback: FeedbackFields | None = None
    storage_error: str | None = None  # of a contributed photo
    is_disconnected: IsDisconnected | None = None  # set by `UploadLimiter` if a body is expected

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self.began) * 1000


class Telemetry:
    """The logger and the metrics of an app, which has one instance of this class."""

    def __init__(self, model_version: str, settings: Settings) -> None:
        self.model_version = model_version
        self.cold_start = True
        self.logger = JsonLogger(settings.service_name, settings.log_level)
        self.metrics = Metrics({"model_version": model_version, "service": settings.service_name})
        self.instance_metrics = InstanceMetrics(model_version)
        # Needs no lock: telemetry and routes are coroutines of one event loop, so a single thread reads and writes.
        self.recent: deque[RecentPrediction] = deque(maxlen=MAX_PREDICTIONS)
        # To match feedback with; no route shows them.
        self.prediction_ids: deque[str] = deque(maxlen=MAX_IDS)

    def begin(self, scope: Scope) -> RequestRecord:
        """Return a record with Lambda's request id, if there is one.

        One search for the id then also finds Lambda's own log lines.
        """
        request_id = getattr(scope.get("aws.context"), "aws_request_id", None) or str(uuid.uuid4())
        synthetic = SYNTHETIC in map(tuple, scope["headers"])
        record = RequestRecord(request_id, self.cold_start, synthetic)
        self.cold_start = False
        return record

    def finish(self, record: RequestRecord, scope: Scope) -> None:
        """Count the request, write its log lines and print its metrics."""
        total_ms = record.elapsed_ms()
        self._count(record, total_ms)
        self._log(record, scope, total_ms)
        self._emit(record)

    def _count(self, record: RequestRecord, total_ms: float) -> None:
        share_ms = total_ms / (record.photos or 1)  # the photos of a batch share its time equally
        for prediction in record.predictions:
            self.instance_metrics.count_prediction(
                prediction["predicted_class"], share_ms / 1000, unknown=prediction["unknown"]
            )
            self.recent.append(RecentPrediction(time.time(), share_ms, prediction))
            self.prediction_ids.append(prediction["request_id"])
        if record.feedback:
            # Another instance may have made the prediction, or it may be invented. Only the report, which reads the
            # logs of all instances, can distinguish the two.
            is_own = record.feedback["feedback_for"] in self.prediction_ids
            counts = self.instance_metrics.feedback if is_own else self.instance_metrics.unmatched_feedback
            counts[record.feedback["label"]] += 1
            if "contribution" in record.feedback:
                self.instance_metrics.contributions[record.feedback["label"]] += 1
        if record.error_code and record.error_code not in record.failed:  # under /v2, one bad photo fails the request
            self.instance_metrics.errors[record.error_code] += 1
        self.instance_metrics.errors.update(record.failed)

    def _log(self, record: RequestRecord, scope: Scope, total_ms: float) -> None:
        common: CommonFields = {"request_id": record.request_id, "model_version": self.model_version}
        if record.synthetic:
            common["synthetic"] = True
        single = record.predictions[0] if record.photos is None and record.predictions else {}
        write = self.logger.warning if record.status >= 400 or record.failed else self.logger.info
        write(fields.REQUEST, extra={**common, **_request_fields(record, scope, total_ms), **single})
        if record.photos is not None:
            batch: BatchPredictionFields = {"batch_id": record.request_id}
            for prediction in record.predictions:
                self.logger.info(fields.PREDICTION, extra={**common, **batch, **prediction})
        if record.feedback:
            self.logger.info(fields.FEEDBACK, extra={**common, **record.feedback})

    def _emit(self, record: RequestRecord) -> None:
        """Print the request's metrics. Only two are by class, because AWS bills each class as a metric of its own."""
        overall = {fields.COLD_START: count(record.cold_start), fields.ERRORS: count(record.status >= 400)}
        if record.predictions:
            latencies = (prediction["inference_ms"] for prediction in record.predictions)
            overall[fields.INFERENCE_LATENCY] = milliseconds(*latencies)
        if record.feedback:
            overall[fields.FEEDBACK_COUNT] = count(1)
            if "contribution" in record.feedback:
                overall[fields.CONTRIBUTIONS] = count(1)
        if record.failed:
            overall[fields.FAILED_PHOTOS] = count(len(record.failed))
        by_class: dict[str, dict[str, Metric]] = {}
        for prediction in [] if record.synthetic else record.predictions:  # synthetic photos must not set off alarms
            metrics = by_class.setdefault(
                prediction["predicted_class"], {fields.PREDICTIONS: count(), fields.UNKNOWN: count()}
            )
            metrics[fields.PREDICTIONS][1].append(1.0)
            metrics[fields.UNKNOWN][1].append(float(prediction["unknown"]))
        self.metrics.put(overall, by_class, record.request_id)


def _request_fields(record: RequestRecord, scope: Scope, total_ms: float) -> RequestFields:
    request: RequestFields = {
        "method": scope["method"] if scope["method"] in METHODS else None,
        "route": getattr(scope.get("route"), "path", None),
        "status": record.status,
        "cold_start": record.cold_start,
        "total_ms": round(total_ms, 3),
    }
    if record.error_code:
        request["error_code"] = record.error_code
    if record.storage_error:
        request["storage_error"] = record.storage_error
    if record.photos is not None:
        request["photos"], request["failed"] = record.photos, Counter(record.failed)
    return request
