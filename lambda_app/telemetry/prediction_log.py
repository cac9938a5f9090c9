"""This instance's last predictions, for whoever looks at a running one; the log keeps them all."""

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from lambda_app.schemas import LoggedPrediction, PredictionLog

KEPT = 100
KEPT_IDS = 10_000  # two megabytes


class Entry(NamedTuple):
    """As cheap as can be: what is made of it is made when somebody asks. No id: with it anybody could give feedback."""

    at: float  # seconds since 1970
    latency_ms: float
    prediction: Mapping[str, Any]  # the log's fields

    def logged(self) -> LoggedPrediction:
        return LoggedPrediction(
            timestamp=datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds"),
            predicted_class=self.prediction["predicted_class"],
            confidence=self.prediction["confidence"],
            unknown=self.prediction["unknown"],
            latency_ms=round(self.latency_ms, 3),
        )


class PredictionIds:
    """The ids of this instance's last predictions, which tell whether feedback is about one of them; none is shown."""

    def __init__(self, kept: int = KEPT_IDS) -> None:
        self.kept = kept
        self.ids: OrderedDict[str, None] = OrderedDict()

    def add(self, request_id: str) -> None:
        self.ids[request_id] = None
        if len(self.ids) > self.kept:
            self.ids.popitem(last=False)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self.ids


def recent() -> deque[Entry]:
    """Needs no lock: the telemetry and the route are coroutines of one event loop, so one thread writes and reads."""
    return deque(maxlen=KEPT)


def prediction_log(entries: deque[Entry]) -> PredictionLog:
    predictions = [entry.logged() for entry in reversed(entries)]
    latencies = [prediction.latency_ms for prediction in predictions]
    return PredictionLog(
        count=len(predictions),
        class_distribution=Counter(prediction.predicted_class for prediction in predictions),
        average_confidence=fmean(prediction.confidence for prediction in predictions) if predictions else None,
        average_latency_ms=fmean(latencies) if latencies else None,
        p95_latency_ms=float(np.percentile(latencies, 95)) if latencies else None,
        predictions=predictions,
    )
