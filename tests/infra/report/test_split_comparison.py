"""Tests of the comparison of two versions that share the traffic, in the report, its page and its summary."""

import json
from datetime import timedelta

import pytest

from infra.report import html_page, markdown_summary
from infra.report.__main__ import print_summary, write_files
from infra.report.log_reader import read
from infra.report.split_comparison import MIN_HOURS
from infra.report.summary import build_report
from tests.infra.report.lines import BEGIN, feedback, prediction, request, request_id

DAY = 24 * 60  # lines: one per minute


def traffic(count=DAY, *, wrong=0.0, share=0.25, labels=True, start=0, **challenger):
    """Return lines: the challenger, version 2, answers a share of the requests after `start`, with an error rate."""
    for number in range(count):
        own = number >= start and number % round(1 / share) == 0
        fields = {"model_version": "2", "confidence": 0.8, "unknown": False, **challenger} if own else {}
        yield prediction(number, **fields)
        if labels:
            mistaken = own and number % 1000 < 1000 * wrong
            yield feedback(number, "dog" if mistaken else "cat", later=1)


DAY_BEFORE = BEGIN - timedelta(days=1)


def build(lines, since=DAY_BEFORE):
    return build_report(read(lines, since), "log.jsonl", None, None, since)


def compare(lines, since=DAY_BEFORE):
    return build(lines, since)["split"]


def test_figures_of_both_versions():
    """Each version has its own labels, accuracy, confidence, calibration, unknown share, class mix and latency."""
    lines = traffic(400, share=0.25, total_ms=30, predicted_class="dog", unknown=True)
    found = compare(lines)
    champion, challenger = found["figures"]["1"], found["figures"]["2"]
    assert ("1", "2", 0.25) == (found["champion"], found["challenger"], found["share"])
    assert (300, 1.0, {"cat": 1.0}, 0.0, 12.5) == (
        champion["labelled"],
        champion["accuracy"],
        champion["class_shares"],
        champion["unknown_share"],
        champion["latency_ms"]["p50"],
    )
    assert (100, 0.0, {"dog": 1.0}, 1.0, 30) == (
        challenger["labelled"],
        challenger["accuracy"],
        challenger["class_shares"],
        challenger["unknown_share"],
        challenger["latency_ms"]["p50"],
    )
    assert pytest.approx((0.01, 0.8)) == (champion["calibration_error"], challenger["calibration_error"])
    assert pytest.approx((0.99, 0.8)) == (champion["labeled_confidence"], challenger["labeled_confidence"])


def test_worse_challenger_is_rolled_back():
    """A challenger with clearly lower accuracy is to be rolled back; the interval excludes 0."""
    found = compare(traffic(wrong=0.2))
    assert ("roll back", 0) == (found["recommendation"], found["labels_needed"])
    accuracy = found["differences"]["accuracy"]
    assert accuracy["interval"][0] < accuracy["difference"] < accuracy["interval"][1] < 0


def test_equal_challenger_is_promoted():
    """With enough labels, a challenger without mistakes beside a champion without mistakes is to be promoted."""
    found = compare(traffic(3 * DAY))
    assert ("promote", 0) == (found["recommendation"], found["labels_needed"])
    assert found["differences"]["accuracy"]["interval"][0] > -found["margin"]


def test_few_labels_keep_testing():
    """With few labels, the recommendation is to keep testing, and the reason has the number of missing labels."""
    found = compare(traffic(600))
    assert "keep testing" == found["recommendation"]
    assert found["labels_needed"] > 0
    assert f"about {found['labels_needed']:,} more labels" in found["reason"]


def test_no_labels_keep_testing():
    """Without labels, nothing is decided by accuracy, and the reason says so."""
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
    """Requests before the split do not count: the champion alone saw other photos then."""
    found = compare(traffic(600, start=300))
    assert (BEGIN + timedelta(hours=5)).isoformat(timespec="minutes") == found["from"]
    assert (5, 300) == (found["hours"], sum(each["requests"] for each in found["figures"].values()))
    assert 300 == sum(each["labelled"] for each in found["figures"].values())


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
    assert {"compared": False, "reason": "the log has one model version"} == report["split"]
    assert "Two versions" not in markdown_summary.render_summary(report)


def test_split_that_began_before_the_period_is_not_decided():
    """Sliding periods would repeat the test with other labels, so the recommendation asks for an earlier beginning."""
    cut, whole = compare([*traffic(wrong=0.2)], BEGIN), compare([*traffic(wrong=0.2)])
    assert ("keep testing", None) == (cut["recommendation"], cut["labels_needed"])
    assert "set SINCE=" in cut["reason"]
    assert "roll back" == whole["recommendation"]


def test_few_lines_before_the_split_are_enough():
    """The time of the split's first hour decides, not the number of lines before it."""
    day_before = DAY_BEFORE.isoformat(timespec="milliseconds")
    early = [prediction(DAY + number, timestamp=day_before, model_version="1") for number in range(3)]
    assert "roll back" == compare([*early, *traffic(wrong=0.2)], None)["recommendation"]
    assert "keep testing" == compare([*traffic(wrong=0.2)], None)["recommendation"]


def test_labels_follow_the_version_of_the_prediction():
    """Feedback counts for the version that predicted, also if the other version received it."""
    lines = [*(prediction(i, model_version="12"[i % 2]) for i in range(300)), feedback(1, model_version="1")]
    found = compare(lines)
    assert [1, 0] == [found["figures"][version]["labelled"] for version in ("2", "1")]


def test_every_format_has_the_comparison(tmp_path, capsys):
    """report.json, the page, the Markdown summary and the output have the recommendation."""
    log = read(traffic(wrong=0.2))
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


def test_page_without_comparison_says_why():
    """With two versions that are not compared, the page has the reason."""
    lines = [prediction(i, model_version="12"[i > 100]) for i in range(200)]
    log = read(lines)
    page = html_page.render_page(build_report(log, "log.jsonl", None, None), log, None)
    assert "The versions are not compared: 2 and 1 both answered in 1 hours" in page
    assert "<h2>Two versions</h2>" not in page
