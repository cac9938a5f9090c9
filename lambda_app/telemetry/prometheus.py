"""The Prometheus figures of this instance: plain numbers, put into Prometheus' words when somebody asks.

Importing prometheus_client takes 14 of the 400 ms of a cold start, and on Lambda hardly anybody scrapes.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Metric

# Seconds. A prediction takes 5 to 50 ms by photo size, a cold one below half a second.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Figures:
    """What was counted since the start; prometheus_client would call it a collector."""

    def __init__(self, model_version: str) -> None:
        self.model_version = model_version
        self.began = time.time()
        self.predictions: Counter[str] = Counter()  # by class
        self.unknown = 0
        self.errors: Counter[str] = Counter()  # by code
        self.feedback: Counter[str] = Counter()  # by true class, about this instance's own predictions
        self.unmatched_feedback: Counter[str] = Counter()  # by the class it names, about predictions not known here
        self.health_checks = 0
        self.latencies = [0] * (len(BUCKETS) + 1)  # by bucket, the last without a bound
        self.seconds = 0.0

    def predicted(self, predicted_class: str, seconds: float, *, unknown: bool) -> None:
        self.predictions[predicted_class] += 1
        self.unknown += unknown
        self.latencies[bisect_left(BUCKETS, seconds)] += 1  # a bucket holds its upper bound
        self.seconds += seconds

    def collect(self) -> Iterator["Metric"]:
        from prometheus_client.core import (  # noqa: PLC0415  # see above
            CounterMetricFamily,
            HistogramMetricFamily,
            InfoMetricFamily,
        )

        def counter(name: str, text: str, counts: Mapping[str, int], label: str) -> "Metric":
            family = CounterMetricFamily(name, text, labels=[label])
            for value, count in counts.items():
                family.add_metric([value], count, created=self.began)
            return family

        yield InfoMetricFamily("model", "The model that answers.", {"model_version": self.model_version})
        yield counter("prediction_requests", "Photos classified.", self.predictions, "predicted_class")
        text = "Photos in which no class was recognised."
        yield CounterMetricFamily("prediction_unknown", text, self.unknown, created=self.began)
        yield counter("prediction_errors", "Requests answered with an error.", self.errors, "code")
        text = "True classes that clients sent of this instance's last predictions."
        yield counter("feedback", text, self.feedback, "label")
        text = "Classes that clients sent of other predictions: another instance's, older or invented ones."
        yield counter("feedback_unmatched", text, self.unmatched_feedback, "label")
        text = "Requests of GET /health."
        yield CounterMetricFamily("health_check_requests", text, self.health_checks, created=self.began)
        bounds = [*map(str, BUCKETS), "+Inf"]
        buckets = list(zip(bounds, accumulate(self.latencies), strict=True))
        latency = HistogramMetricFamily("prediction_latency_seconds", "Request to answer.", buckets, self.seconds)
        latency.add_sample("prediction_latency_seconds_created", {}, self.began)
        yield latency

    def exposition(self) -> tuple[bytes, str]:
        """Prometheus' text format, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415  # see above

        return generate_latest(self), CONTENT_TYPE_LATEST
