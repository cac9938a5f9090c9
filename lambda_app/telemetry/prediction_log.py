"""Keep this instance's latest predictions for `GET /prediction-log`. The log lines record all predictions."""

from collections import Counter, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from lambda_app.schemas import LoggedPrediction, PredictionLog


class RecentPrediction(NamedTuple):
    """A prediction, stored cheaply: its response is built on demand.

    The response omits the request id, because anyone who knows the id can send feedback.
    """

    time: float  # seconds since 1970
    latency_ms: float
    fields: Mapping[str, Any]  # of the log line

    def to_response(self) -> LoggedPrediction:
        return LoggedPrediction(
            timestamp=datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds"),
            predicted_class=self.fields["predicted_class"],
            confidence=self.fields["confidence"],
            unknown=self.fields["unknown"],
            latency_ms=round(self.latency_ms, 3),
        )


def summarize_predictions(recent: deque[RecentPrediction]) -> PredictionLog:
    """Return the predictions, newest first, with their class distribution, confidence and latency."""
    predictions = [prediction.to_response() for prediction in reversed(recent)]
    latencies = [prediction.latency_ms for prediction in predictions]
    return PredictionLog(
        count=len(predictions),
        class_distribution=Counter(prediction.predicted_class for prediction in predictions),
        average_confidence=fmean(prediction.confidence for prediction in predictions) if predictions else None,
        average_latency_ms=fmean(latencies) if latencies else None,
        p95_latency_ms=float(np.percentile(latencies, 95)) if latencies else None,
        predictions=predictions,
    )
