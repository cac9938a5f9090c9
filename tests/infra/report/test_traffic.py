"""Rates, latencies, classes: of everything, of a version, of a time."""

import pytest

from infra.report import traffic
from infra.report.labels import join
from infra.report.records import read
from tests.infra.report.lines import feedback, prediction, request


def table(*lines):
    return join(read(lines))[0]


def test_figures():
    """Rates are of all requests; latency, classes, confidence and unknown of the predictions."""
    found = traffic.figures(
        table(
            *(prediction(i, total_ms=i + 1, confidence=0.8) for i in range(100)),
            prediction(100, total_ms=50.5, confidence=0.8, predicted_class="dog", unknown=True, cold_start=True),
            *(request(200 + i, status=415, error_code="unsupported_image") for i in range(2)),
            request(300, route="/health"),
            feedback(0, "cat"),
            feedback(1, "dog"),
        )
    )
    assert (104, 101, 2) == (found["requests"], found["predictions"], found["errors"])
    assert pytest.approx((2 / 104, 1 / 104)) == (found["error_rate"], found["cold_start_rate"])
    assert {"unsupported_image": 2} == found["error_codes"]
    assert pytest.approx({"mean": 50.5, "p50": 50.5, "p95": 95, "p99": 99}) == found["latency_ms"]
    assert ({"cat": 100, "dog": 1}, pytest.approx(0.8)) == (found["classes"], found["confidence"])
    assert pytest.approx((1 / 101, 2 / 101, 0.5)) == tuple(
        found[name] for name in ("unknown_share", "label_coverage", "accuracy")
    )


def test_without_predictions_nothing_is_said_of_them():
    """Not even zero."""
    found = traffic.figures(table(request(0)))
    names = ("latency_ms", "confidence", "unknown_share", "label_coverage", "accuracy", "accuracy_interval")
    assert [None] * 6 == [found[name] for name in names]


def test_over_time():
    """Each version in each step of the clock, counted once; a step without requests has no point."""
    minutes = (0, 59, 60, 200)
    lines = [request(minute, model_version="2" if minute > 59 else "1") for minute in minutes]
    found = list(traffic.over_time(table(*lines), 3600))
    assert [("1", "2026-01-05T00:00:00+00:00", 2), ("2", "2026-01-05T01:00:00+00:00", 1)] == [
        (point["model_version"], point["from"], point["requests"]) for point in found[:2]
    ]
    assert [("2026-01-05T03:00:00+00:00", 1)] == [(point["from"], point["requests"]) for point in found[2:]]


@pytest.mark.parametrize(
    ("minutes", "seconds"), [(0, 60), (29, 60), (60, 300), (7 * 1440 - 1, 21_600), (300_000, 604_800), (9**8, 604_800)]
)
def test_a_step_is_one_that_a_clock_or_a_calendar_shows(minutes, seconds):
    """So that about thirty of them cover the time."""
    assert seconds == traffic.step(table(request(0), request(minutes)), 30)
