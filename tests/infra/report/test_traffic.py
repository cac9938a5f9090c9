"""Test the traffic figures: rates, latencies, classes and points in time."""

import pytest

from infra.report import traffic
from infra.report.log_reader import read
from tests.infra.report.lines import part, prediction, request


def table(*lines):
    return read(lines).requests


def test_figures_cover_requests_and_predictions():
    """Rates cover all requests; latency, classes, confidence and the unknown share cover the predictions."""
    found = traffic.traffic_figures(
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


def test_batch_counts_as_one_request_with_several_predictions():
    """Photos of a batch count in classes, confidence and unknown; errors, cold starts and latency count requests."""
    found = traffic.traffic_figures(
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
    [
        ("", None),
        ("2" * 5 + "1" * 90, "1"),
        ("1" * 200 + "2" * 9, "1"),
        ("1" + "2" * 150, "2"),
        ("112" * 300 + "221" * 30, "1"),  # nearly equal shares: chance does not decide
    ],
)
def test_serving_version_is_the_most_frequent_recent_one(versions, expected):
    """The serving version is found after a rollback or a replacement, and during a canary deployment or a split."""
    lines = [request(number, model_version=version) for number, version in enumerate(versions)]
    assert expected == traffic.serving_version(table(*lines))


def test_figures_without_predictions_are_none():
    """Latency, confidence and the unknown share are None, not zero."""
    found = traffic.traffic_figures(table(request(0)))
    assert [None] * 3 == [found[name] for name in ("latency_ms", "confidence", "unknown_share")]


def test_over_time_groups_by_version_and_step():
    """Each version has a point for each hour with requests, and no point for other hours."""
    minutes = (0, 59, 60, 200)
    lines = [request(minute, model_version="2" if minute > 59 else "1") for minute in minutes]
    found = list(traffic.over_time(table(*lines), 10, traffic.traffic_figures))
    assert [("1", "2026-01-05T00:00:00+00:00", 2), ("2", "2026-01-05T01:00:00+00:00", 1)] == [
        (point["model_version"], point["from"], point["requests"]) for point in found[:2]
    ]
    assert [("2026-01-05T03:00:00+00:00", 1)] == [(point["from"], point["requests"]) for point in found[2:]]


@pytest.mark.parametrize(
    ("minutes", "seconds"), [(0, 60), (29, 60), (60, 300), (7 * 1440 - 1, 21_600), (300_000, 604_800), (9**8, 604_800)]
)
def test_step_is_chosen_from_calendar_intervals(minutes, seconds):
    """At most thirty steps cover the time, up to a step of a week."""
    assert seconds == traffic.choose_step(table(request(0), request(minutes)), 30)
