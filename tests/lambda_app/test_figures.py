"""The Prometheus figures: what prometheus_client's own instruments would have said."""

import re

import pytest
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, Info, generate_latest

from lambda_app.telemetry.prometheus import BUCKETS, Figures


def exposition(figures: Figures) -> str:
    """Without the time at which counting began."""
    text, _ = figures.exposition()
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
def test_the_text_is_what_prometheus_own_instruments_write(predictions):
    """Names, help, types, labels, buckets, sums and their order, to the byte."""
    registry, figures = CollectorRegistry(), Figures("2026.01.01-tiny")
    Info("model", "The model that answers.", registry=registry).info({"model_version": "2026.01.01-tiny"})
    requests = Counter("prediction_requests", "Photos classified.", ["predicted_class"], registry=registry)
    unknown = Counter("prediction_unknown", "Photos in which no class was recognised.", registry=registry)
    errors = Counter("prediction_errors", "Requests answered with an error.", ["code"], registry=registry)
    text = "True classes that clients sent of this instance's last predictions."
    feedback = Counter("feedback", text, ["label"], registry=registry)
    text = "Classes that clients sent of other predictions: another instance's, older or invented ones."
    unmatched = Counter("feedback_unmatched", text, ["label"], registry=registry)
    health = Counter("health_check_requests", "Requests of GET /health.", registry=registry)
    latency = Histogram("prediction_latency_seconds", "Request to answer.", buckets=BUCKETS, registry=registry)
    for predicted_class, seconds in predictions:
        figures.predicted(predicted_class, seconds, unknown=seconds > 1)
        requests.labels(predicted_class).inc()
        unknown.inc(seconds > 1)
        latency.observe(seconds)
        figures.errors["bad_field"] += 1
        errors.labels("bad_field").inc()
        figures.feedback[predicted_class] += 1
        feedback.labels(predicted_class).inc()
        figures.unmatched_feedback[predicted_class] += 2
        unmatched.labels(predicted_class).inc(2)
        figures.health_checks += 1
        health.inc()
    assert re.sub(r"(_created\S* ).*", r"\1", generate_latest(registry).decode()) == exposition(figures)


def test_the_content_type_is_prometheus():
    """Scrapers choose their parser by it."""
    assert CONTENT_TYPE_LATEST == Figures("").exposition()[1]
