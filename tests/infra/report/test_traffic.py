"""Rates, latencies, classes: of everything, of a version, of a time."""

import pytest

from infra.report import traffic
from infra.report.log_reader import read
from tests.infra.report.lines import part, prediction, request


def table(*lines):
    return read(lines).requests


def test_figures():
    """Rates are of all requests; latency, classes, confidence and unknown of the predictions."""
    found = traffic.figures(
        table(
            *(prediction(i, total_ms=i + 1, confidence=0.8) for i in range(100)),
            prediction(100, total_ms=50.5, confidence=0.8, predicted_class="dog", unknown=True, cold_start=True),
            *(request(200 + i, status=415, error_code="unsupported_image") for i in range(2)),
            request(300, route="/health"),
        )
    )
    assert (104, 101, 2) == (found["requests"], found["predictions"], found["errors"])
    assert pytest.approx((2 / 104, 1 / 104)) == (found["error_rate"], found["cold_start_rate"])
    assert {"unsupported_image": 2} == found["error_codes"]
    assert pytest.approx({"mean": 50.5, "p50": 50.5, "p95": 95, "p99": 99}) == found["latency_ms"]
    assert ({"cat": 100, "dog": 1}, pytest.approx(0.8)) == (found["classes"], found["confidence"])
    assert pytest.approx(1 / 101) == found["unknown_share"]


def test_photos_that_came_together_are_predictions_of_one_request():
    """Classes, confidence and unknown are theirs; errors, cold starts and latency are of requests alone."""
    found = traffic.figures(
        table(
            request(0, photos=2, total_ms=900, cold_start=True),
            part(1, confidence=0.6),
            part(2, predicted_class="dog", unknown=True, confidence=0.8),
            prediction(3, total_ms=10, confidence=1),
        )
    )
    assert (2, 3, 0, 0.5) == tuple(found[name] for name in ("requests", "predictions", "errors", "cold_start_rate"))
    assert ({"cat": 2, "dog": 1}, pytest.approx(0.8), 1 / 3) == (
        found["classes"],
        found["confidence"],
        found["unknown_share"],
    )
    assert {"mean": 10, "p50": 10, "p95": 10, "p99": 10} == found["latency_ms"]


@pytest.mark.parametrize(
    ("versions", "expected"),
    [("", None), ("2" * 5 + "1" * 90, "1"), ("1" * 200 + "2" * 9, "1"), ("1" + "2" * 150, "2")],
)
def test_which_version_serves(versions, expected):
    """Of the last hundred requests most: it rolled back, a canary has begun, another one has taken over."""
    lines = [request(number, model_version=version) for number, version in enumerate(versions)]
    assert expected == traffic.serving(table(*lines))


def test_without_predictions_nothing_is_said_of_them():
    """Not even zero."""
    found = traffic.figures(table(request(0)))
    assert [None] * 3 == [found[name] for name in ("latency_ms", "confidence", "unknown_share")]


def test_over_time():
    """Each version in each hour, as few points ask for, counted once; an hour without requests has no point."""
    minutes = (0, 59, 60, 200)
    lines = [request(minute, model_version="2" if minute > 59 else "1") for minute in minutes]
    found = list(traffic.over_time(table(*lines), 10, traffic.figures))
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
