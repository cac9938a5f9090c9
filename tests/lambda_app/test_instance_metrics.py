"""Compare the Prometheus metrics of an instance with those of prometheus_client's own instruments."""

import re

import pytest
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, Info, generate_latest

from lambda_app.telemetry.prometheus import BUCKETS, InstanceMetrics


def without_creation_time(text: bytes) -> str:
    return re.sub(r"(_created\S* ).*", r"\1", text.decode())


@pytest.mark.parametrize(
    "predictions",
    [
        [],
        [("cat", 0.02)],
        [("cat", 0.02), ("dog", 0.3), ("cat", 9)],
        [("cat", bound) for bound in BUCKETS],
        [('a "quoted"\nname', 0.001)],
    ],
)
def test_text_equals_that_of_prometheus_client(predictions):
    """Names, help, types, labels, buckets, sums and their order are equal to the byte."""
    registry, metrics = CollectorRegistry(), InstanceMetrics("2026.01.01-tiny")
    texts = {family.name: family.documentation for family in metrics.collect()}
    Info("model", texts["model"], registry=registry).info({"model_version": "2026.01.01-tiny"})
    requests = Counter("prediction_requests", texts["prediction_requests"], ["predicted_class"], registry=registry)
    unknown = Counter("prediction_unknown", texts["prediction_unknown"], registry=registry)
    errors = Counter("prediction_errors", texts["prediction_errors"], ["code"], registry=registry)
    feedback = Counter("feedback", texts["feedback"], ["label"], registry=registry)
    unmatched = Counter("feedback_unmatched", texts["feedback_unmatched"], ["label"], registry=registry)
    contributions = Counter("contributions", texts["contributions"], ["label"], registry=registry)
    health = Counter("health_check_requests", texts["health_check_requests"], registry=registry)
    name = "prediction_latency_seconds"
    latency = Histogram(name, texts[name], buckets=BUCKETS, registry=registry)
    for predicted_class, seconds in predictions:
        metrics.count_prediction(predicted_class, seconds, unknown=seconds > 1)
        requests.labels(predicted_class).inc()
        unknown.inc(seconds > 1)
        latency.observe(seconds)
        metrics.errors["bad_field"] += 1
        errors.labels("bad_field").inc()
        metrics.feedback[predicted_class] += 1
        feedback.labels(predicted_class).inc()
        metrics.unmatched_feedback[predicted_class] += 2
        unmatched.labels(predicted_class).inc(2)
        metrics.contributions[predicted_class] += 1
        contributions.labels(predicted_class).inc()
        metrics.health_checks += 1
        health.inc()
    text, _ = metrics.render()
    assert without_creation_time(generate_latest(registry)) == without_creation_time(text)


def test_content_type_is_that_of_prometheus_client():
    """Scrapers choose their parser by the content type."""
    assert CONTENT_TYPE_LATEST == InstanceMetrics("").render()[1]
