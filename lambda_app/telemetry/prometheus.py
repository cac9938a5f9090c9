"""Count this instance's requests and predictions, and export the counts in Prometheus' text format on demand.

Importing prometheus_client takes 14 ms, so only `GET /metrics` imports it.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Metric

# Upper bounds in seconds. A prediction takes 5 to 50 ms by photo size, and less than half a second at a cold start.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class InstanceMetrics:
    """Counts since the start of this instance. `collect` makes it a collector of prometheus_client."""

    def __init__(self, model_version: str) -> None:
        self.model_version = model_version
        self.created = time.time()
        self.predictions: Counter[str] = Counter()  # by class
        self.unknown = 0
        self.errors: Counter[str] = Counter()  # by code
        self.feedback: Counter[str] = Counter()  # by true class, for this instance's own predictions
        self.unmatched_feedback: Counter[str] = Counter()  # by true class, for predictions unknown to this instance
        self.contributions: Counter[str] = Counter()  # by true class
        self.health_checks = 0
        self.latencies = [0] * (len(BUCKETS) + 1)  # by bucket; the last has no upper bound
        self.seconds = 0.0

    def count_prediction(self, predicted_class: str, seconds: float, *, unknown: bool) -> None:
        self.predictions[predicted_class] += 1
        self.unknown += unknown
        self.latencies[bisect_left(BUCKETS, seconds)] += 1  # a bucket includes its upper bound
        self.seconds += seconds

    def collect(self) -> Iterator["Metric"]:
        """Yield the metrics as prometheus_client's types."""
        from prometheus_client.core import InfoMetricFamily  # noqa: PLC0415  # see the module's docstring

        yield InfoMetricFamily("model", "The model that answers.", {"model_version": self.model_version})
        yield self._counter("prediction_requests", "Photos classified.", self.predictions, "predicted_class")
        yield self._counter("prediction_unknown", "Photos in which no class was recognized.", self.unknown)
        text = "Requests, and photos of a batch, answered with an error."
        yield self._counter("prediction_errors", text, self.errors, "code")
        text = "Feedback on this instance's latest predictions, by true class."
        yield self._counter("feedback", text, self.feedback, "label")
        text = "Feedback on other predictions (older, invented, or of another instance), by true class."
        yield self._counter("feedback_unmatched", text, self.unmatched_feedback, "label")
        yield self._counter("contributions", "Contributed photos stored, by true class.", self.contributions, "label")
        yield self._counter("health_check_requests", "Requests of GET /health.", self.health_checks)
        yield self._latency("prediction_latency_seconds")

    def _counter(self, name: str, text: str, counts: int | Mapping[str, int], label: str = "") -> "Metric":
        """Return a counter without labels, or one whose label has the keys of `counts` as values."""
        from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415  # see the module's docstring

        if isinstance(counts, int):
            return CounterMetricFamily(name, text, counts, created=self.created)
        family = CounterMetricFamily(name, text, labels=[label])
        for value, count in counts.items():
            family.add_metric([value], count, created=self.created)
        return family

    def _latency(self, name: str) -> "Metric":
        from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415  # see the module's docstring

        buckets = list(zip([*map(str, BUCKETS), "+Inf"], accumulate(self.latencies), strict=True))
        family = HistogramMetricFamily(name, "Time from request to response.", buckets, self.seconds)
        family.add_sample(f"{name}_created", {}, self.created)
        return family

    def render(self) -> tuple[bytes, str]:
        """Return the metrics in Prometheus' text format, and the content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415  # see above

        return generate_latest(self), CONTENT_TYPE_LATEST
