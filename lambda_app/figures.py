"""The Prometheus figures of this instance: plain numbers, put into Prometheus' words when somebody asks.

Importing prometheus_client takes 14 of the 400 ms of a cold start, and on Lambda hardly anybody scrapes.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Metric

# Seconds. A prediction takes 5 to 50 ms by photo size, a cold one below half a second.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Figures:
    """What was counted since the start; prometheus_client would call it a collector."""

    def __init__(self) -> None:
        self.began = time.time()
        self.predictions: Counter[str] = Counter()  # by class
        self.latencies = [0] * (len(BUCKETS) + 1)  # by bucket, the last without a bound
        self.seconds = 0.0

    def predicted(self, predicted_class: str, seconds: float) -> None:
        self.predictions[predicted_class] += 1
        self.latencies[bisect_left(BUCKETS, seconds)] += 1  # a bucket holds its upper bound
        self.seconds += seconds

    def collect(self) -> Iterator["Metric"]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily  # noqa: PLC0415  # see above

        requests = CounterMetricFamily("prediction_requests", "Photos classified.", labels=["predicted_class"])
        for name, count in self.predictions.items():
            requests.add_metric([name], count, created=self.began)
        yield requests
        bounds = [*map(str, BUCKETS), "+Inf"]
        buckets = list(zip(bounds, accumulate(self.latencies), strict=True))
        latency = HistogramMetricFamily("prediction_latency_seconds", "Request to answer.", buckets, self.seconds)
        latency.add_sample("prediction_latency_seconds_created", {}, self.began)
        yield latency

    def exposition(self) -> tuple[bytes, str]:
        """Prometheus' text format, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415  # see above

        return generate_latest(self), CONTENT_TYPE_LATEST
