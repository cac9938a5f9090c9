"""Test the comparison of two versions that share the traffic, in report.json, report.html and report.md."""

import json
from datetime import timedelta

import pytest

from infra.report import html_page, markdown_summary
from infra.report.__main__ import print_summary, write_files
from infra.report.build_report import build_report
from infra.report.log_reader import read
from infra.report.split_comparison import MIN_HOURS
from tests.infra.report.lines import BEGIN, feedback, prediction, request, request_id

DAY = 24 * 60  # lines: one per minute
DAY_BEFORE = BEGIN - timedelta(days=1)
SHARE = 4  # the challenger gets every fourth request


def traffic(count=DAY, *, error_rate=0.0, labels=True, start=0, **challenger):
    """Yield log lines of predictions and labels. From `start`, version 2 is the challenger; it has all the errors."""
    for number in range(count):
        is_challenger = number >= start and number % SHARE == 0
        fields = {"model_version": "2", "confidence": 0.8, "unknown": False, **challenger} if is_challenger else {}
        yield prediction(number, **fields)
        if labels:
            is_wrong = is_challenger and number % 1000 < 1000 * error_rate
            yield feedback(number, "dog" if is_wrong else "cat", later=1)


def build(lines, since=DAY_BEFORE):
    return build_report(read(lines, since), "log.jsonl", None, None, since)


def compare(lines, since=DAY_BEFORE):
    return build(lines, since)["split"]


def test_figures_of_both_versions():
    """Each version has its own labels, accuracy, confidence, calibration, unknown share, class mix and latency."""
    found = compare(traffic(400, total_ms=30, predicted_class="dog", unknown=True))
    assert ("1", "2", 0.25) == (found["champion"], found["challenger"], found["share"])
    names = ("labels", "accuracy", "class_shares", "unknown_share", "calibration_error", "labeled_confidence")
    expected = {
        "1": (300, 1.0, {"cat": 1.0}, 0.0, pytest.approx(0.01), pytest.approx(0.99)),
        "2": (100, 0.0, {"dog": 1.0}, 1.0, pytest.approx(0.8), pytest.approx(0.8)),
    }
    figures = found["figures"]
    assert expected == {version: tuple(figures[version][name] for name in names) for version in expected}
    assert {"1": 12.5, "2": 30} == {version: figures[version]["latency_ms"]["p50"] for version in expected}


def test_worse_challenger_is_rolled_back():
    """The report recommends rolling back a challenger with lower accuracy; the interval excludes 0."""
    found = compare(traffic(error_rate=0.2))
    assert ("roll back", 0) == (found["recommendation"], found["labels_needed"])
    accuracy = found["differences"]["accuracy"]
    assert accuracy["interval"][0] < accuracy["difference"] < accuracy["interval"][1] < 0


def test_equal_challenger_is_promoted():
    """With enough labels, the report recommends promoting a challenger that is as accurate as the champion."""
    found = compare(traffic(3 * DAY))
    assert ("promote", 0) == (found["recommendation"], found["labels_needed"])
    assert found["differences"]["accuracy"]["interval"][0] > -found["margin"]


def test_few_labels_keep_testing():
    """With few labels, the report recommends further testing, and the reason gives the number of missing labels."""
    found = compare(traffic(600))
    assert "keep testing" == found["recommendation"]
    assert found["labels_needed"] > 0
    assert f"about {found['labels_needed']:,} more labels" in found["reason"]


def test_no_labels_keep_testing():
    """Without labels, the report recommends further testing, and the reason is the missing labels."""
    found = compare(traffic(600, labels=False))
    assert ("keep testing", None) == (found["recommendation"], found["labels_needed"])
    assert {"difference": None, "interval": None, "level": 0.96} == found["differences"]["accuracy"]
    assert "both versions need labels" in found["reason"]


def test_server_errors_roll_back():
    """Server errors roll the challenger back even if all its labels are correct; client errors do not."""
    failures = [request(3 * DAY + i, model_version="2", status=500, error_code="internal") for i in range(60)]
    rejected = [request(3 * DAY + i, model_version="2", status=415, error_code="unsupported_image") for i in range(60)]
    champion = [request(3 * DAY + i, request_id=request_id(10**7 + i)) for i in range(60)]
    lines = [*traffic(3 * DAY), *champion]
    found = compare([*lines, *failures])
    assert ("roll back", 60) == (found["recommendation"], found["figures"]["2"]["server_errors"])
    assert "server errors" in found["reason"]
    assert found["differences"]["server_error_rate"]["interval"][0] > 0
    assert "promote" == compare([*lines, *rejected])["recommendation"]


def test_only_shared_hours_count():
    """Requests before the split do not count, because only the champion received those photos."""
    found = compare(traffic(600, start=300))
    assert (BEGIN + timedelta(hours=5)).isoformat(timespec="minutes") == found["from"]
    assert (5, 300) == (found["hours"], sum(each["requests"] for each in found["figures"].values()))
    assert 300 == sum(each["labels"] for each in found["figures"].values())


def test_deployment_is_no_split():
    """A canary and the version after it are not compared, because only few hours have both versions."""
    versions = "1" * 590 + "1111111112" * 4 + "2" * 570
    lines = [prediction(i, model_version=version) for i, version in enumerate(versions)]
    found = compare(lines)
    assert {"compared": False, "reason": f"2 and 1 both answered in 2 hours; expected {MIN_HOURS} or more"} == found


@pytest.mark.parametrize("lines", [[], [prediction(i) for i in range(300)]])
def test_one_version_is_not_compared(lines):
    """A log with one version or none has no comparison, and its summary has no section for it."""
    report = build(lines)
    assert {"compared": False, "reason": "fewer than two model versions answered in this period"} == report["split"]
    assert "Two versions" not in markdown_summary.render_summary(report)


def test_split_that_began_before_the_period_is_not_decided():
    """If the period begins during the split, the test lacks labels, and the reason asks for an earlier `SINCE=`."""
    cut, whole = compare([*traffic(error_rate=0.2)], BEGIN), compare([*traffic(error_rate=0.2)])
    assert ("keep testing", None) == (cut["recommendation"], cut["labels_needed"])
    assert "set SINCE=" in cut["reason"]
    assert "roll back" == whole["recommendation"]


def test_few_lines_before_the_split_suffice():
    """A single line a day before the split shows that the log contains all labels of the split."""
    day_before = DAY_BEFORE.isoformat(timespec="milliseconds")
    early = [prediction(DAY, timestamp=day_before, model_version="1")]
    assert "roll back" == compare([*early, *traffic(error_rate=0.2)], None)["recommendation"]
    assert "keep testing" == compare([*traffic(error_rate=0.2)], None)["recommendation"]


def test_labels_follow_the_version_of_the_prediction():
    """Feedback counts for the version that made the prediction, even if the other version received the feedback."""
    lines = [*(prediction(i, model_version="12"[i % 2]) for i in range(300)), feedback(1, model_version="1")]
    found = compare(lines)
    assert [1, 0] == [found["figures"][version]["labels"] for version in ("2", "1")]


@pytest.mark.slow
def test_every_format_has_the_comparison(tmp_path, capsys):
    """report.json, the page, the Markdown summary and the printed summary contain the recommendation."""
    log = read(traffic(error_rate=0.2))
    report = build_report(log, "log.jsonl", None, None, DAY_BEFORE)
    write_files(report, html_page.render_page(report, log, None), tmp_path)
    print_summary(report, tmp_path)
    assert "roll back" == json.loads((tmp_path / "report.json").read_text())["split"]["recommendation"]
    page, summary = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert "<h2>Two versions</h2>" in page
    accuracy = html_page.format_percent(report["split"]["figures"]["2"]["accuracy"])
    assert f"<td>accuracy</td><td>100.00 %</td><td>{accuracy}</td>" in page
    assert "**Roll back**: the challenger's accuracy is lower." in summary
    assert "| measure | champion 1 | challenger 2 | difference |" in summary
    assert "two versions, roll back: the challenger's accuracy is lower" in capsys.readouterr().out


@pytest.mark.slow
def test_page_without_comparison_says_why():
    """If two versions are not compared, the page shows the reason."""
    lines = [prediction(i, model_version="12"[i > 100]) for i in range(200)]
    log = read(lines)
    page = html_page.render_page(build_report(log, "log.jsonl", None, None), log, None)
    assert "The versions are not compared: 2 and 1 both answered in 1 hours" in page
    assert "<h2>Two versions</h2>" not in page
