"""Test the whole report: files and exit codes."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.report import baseline, benchmark, log_source, publish
from infra.report import build_report as report_builder
from infra.report.__main__ import ALARM_EXIT_CODE, main
from tests.infra.report.lines import REPORT_METRICS, dark, feedback, prediction, request
from tests.support.commands import execute, run_refused

pytestmark = pytest.mark.slow
SIZE = ("photo_bytes", "photo_width", "photo_height")


def test_good_week_raises_no_alarm(run, good, capsys):
    """The report exits with 0 and has every figure."""
    code, report = run(good)
    assert (0, []) == (code, report["alarms"])
    assert (True, []) == (report["drift"]["judged"], report["drift"]["drifted"])
    assert report["accuracy"]["judged"]
    assert REPORT_METRICS == set(publish.serving_metrics(report))
    output = capsys.readouterr().out
    assert "ALARM" not in output
    assert output.endswith("\nno retraining: nothing drifted\n")


def test_drift_raises_an_alarm(run, good, capsys):
    """The report exits with 3 and names the signal."""
    code, report = run(dark(good))
    assert (ALARM_EXIT_CODE, ["brightness"]) == (code, report["drift"]["drifted"])
    assert "photos differ from the test photos in brightness\n" in (output := capsys.readouterr().out)
    assert "ALARM, drift: " in output
    assert not report["retrain"]  # because the labels confirm the accuracy


def test_baseline_replaces_the_test_photos(run, good, tmp_path):
    """With a baseline of dark photos for the serving version, dark photos are normal and test photos drift."""
    week = tmp_path / "week.jsonl"
    week.write_text("".join(f"{line}\n" for line in dark(good)))
    baseline.main([str(week), "--out", str(tmp_path / "baseline.json")])
    options = ("--baseline", str(tmp_path / "baseline.json"))
    code, report = run(dark(good), *options)
    assert (0, [], "baseline photos") == (code, report["alarms"], report["drift"]["reference"])
    assert report["accuracy"]["judged"]
    code, report = run(good, *options)
    assert (ALARM_EXIT_CODE, ["brightness"]) == (code, report["drift"]["drifted"])
    values = json.loads((tmp_path / "baseline.json").read_text()) | {"model_version": "old"}
    (tmp_path / "baseline.json").write_text(json.dumps(values))
    code, report = run(good, *options)
    assert (0, "test photos") == (code, report["drift"]["reference"])


def test_larger_photos_raise_an_alarm_without_retraining(run, good):
    """Photos of phones, without labels, drift only in size."""
    lines = [json.loads(line) for line in good if '"feedback"' not in line]
    large = ({**line, **{name: 10 * line[name] for name in line if name in SIZE}} for line in lines)
    code, report = run(map(json.dumps, large))
    assert (ALARM_EXIT_CODE, set(SIZE)) == (code, set(report["drift"]["drifted"]))
    assert (False, "only photo size or class mix drifted") == (report["retrain"], report["retrain_reason"])


def test_outputs_option_prints_two_lines(run, good, capsys):
    """Standard output has alarm= and retrain=; the summary goes to standard error."""
    lines = [line for line in dark(good) if '"feedback"' not in line]
    code, _ = run(lines, "--outputs")
    output = capsys.readouterr()
    assert (ALARM_EXIT_CODE, "alarm=true\nretrain=true\n") == (code, output.out)
    assert "retrain: brightness drifted, and there are too few labels to confirm the accuracy" in output.err


def test_low_accuracy_raises_an_alarm(run, good):
    """Labels that contradict every prediction raise the accuracy alarm alone."""
    wrong = {"cat": "dog", "dog": "cat"}
    lines = [json.loads(line) for line in good]
    lines = [line | ({"label": wrong[line["label"]]} if "label" in line else {}) for line in lines]
    code, report = run(map(json.dumps, lines))
    assert (ALARM_EXIT_CODE, ["accuracy"]) == (code, [alarm["alarm"] for alarm in report["alarms"]])
    assert {"AccuracyAlarm": 1, "DriftAlarm": 0} == publish.alarm_metrics(report)


def test_small_samples_are_not_judged(run, good, reference, capsys):
    """99 predictions and a few labels are too few, and the output has the numbers."""
    predictions = [line for line in good if '"predicted_class"' in line]
    labels = [line for line in good if '"feedback"' in line]
    code, report = run(predictions[:99] + labels)
    assert (0, False, False) == (code, report["drift"]["judged"], report["accuracy"]["judged"])
    output = capsys.readouterr().out
    assert f"drift not judged: the log has 99 predictions of {reference.model_version} with " in output
    assert re.search(r"accuracy not judged: \d+ predictions of .* have a label; expected 200 or more", output)


def test_version_without_a_reference_is_not_judged(run, good, capsys):
    """Predictions of a version without a reference are counted but not judged, and the metric Reference is 0."""
    code, report = run(
        [*(prediction(10_000 + number, model_version="old") for number in range(200)), *good[:400]], page=True
    )
    assert (0, False, 200) == (code, report["reference"], report["versions"]["old"]["predictions"])
    reason = "no reference of old exists here or in Git's history"
    assert f"drift not judged: {reason}\naccuracy not judged: {reason}\n" in capsys.readouterr().out
    page = Path("out/report.html").read_text()
    assert f"Drift is not judged: {reason.replace(chr(39), '&#39;')}." in page
    assert "Alarms judge only old, the serving version." in page
    assert 0 == publish.serving_metrics(report)["Reference"]


def test_only_the_serving_version_is_judged(run, good, reference):
    """Another version that is always wrong does not change the published figures."""
    before = publish.serving_metrics(run(good)[1])
    wrong = [prediction(number, model_version="old", timestamp="2026-01-01T00:00:00Z") for number in range(300)]
    _, report = run([*wrong, *(feedback(number, "dog") for number in range(300)), *good])
    assert (reference.model_version, before) == (report["serving"], publish.serving_metrics(report))
    assert 0 == report["quality"]["versions"]["old"]["accuracy"]


def test_report_works_without_requests(run):
    """A log without requests yields a report that counts the other lines."""
    code, report = run(["START", "{}"], "--since", "7d", page=True)
    assert (0, 0, []) == (code, report["overall"]["requests"], report["alarms"])
    assert {"not JSON": 1, "other": 1} == report["lines"]
    assert "No request" in Path("out/report.html").read_text()
    assert {"Reference": 1} == publish.serving_metrics(report)


def test_late_labels_count_when_they_arrive(run):
    """Labels count for predictions before the window, even of a version that no longer serves."""
    now = datetime.now(UTC)
    times = {days: (now - timedelta(days=days)).isoformat() for days in (1, 9)}
    old = [prediction(number, timestamp=times[9], model_version="old") for number in range(4)]
    labels = [feedback(number, "cat" if number else "dog", timestamp=times[1]) for number in range(4)]
    code, report = run([*old, *labels, request(9, timestamp=times[1])], "--since", "7d")
    assert (0, 0, 4) == (code, report["overall"]["predictions"], report["lines"]["earlier"])
    assert (4, 0.75) == tuple(report["versions"]["old"][name] for name in ("labels", "accuracy"))
    assert report["overall"]["label_coverage"] is None
    assert [4] == [point["labels"] for point in report["labels_over_time"]]


def test_label_coverage_counts_predictions_of_the_window(run):
    """Two of eight predictions are labeled; thirty labels of earlier predictions do not count."""
    now = datetime.now(UTC)
    times = {days: (now - timedelta(days=days)).isoformat() for days in (1, 9)}
    old = [prediction(number, timestamp=times[9]) for number in range(30)]
    new = [prediction(100 + number, timestamp=times[1]) for number in range(8)]
    labels = [feedback(number, timestamp=times[1]) for number in (*range(30), 100, 101)]
    _, report = run([*old, *new, *labels], "--since", "7d")
    assert (32, 0.25) == tuple(report["overall"][name] for name in ("labels", "label_coverage"))
    assert 0.25 == publish.serving_metrics(report)["LabelCoverage"]


def test_versions_have_separate_figures(run):
    """Each version has its requests, accuracy and points in time."""
    lines = [prediction(number, model_version=str(number % 2)) for number in range(40)]
    _, report = run([*lines, *(feedback(number, "cat" if number % 2 else "dog") for number in range(40))])
    assert {"0": (20, 0.0), "1": (20, 1.0)} == {
        version: (found["requests"], report["quality"]["versions"][version]["accuracy"])
        for version, found in report["versions"].items()
    }
    assert {"0", "1"} == {point["model_version"] for point in report["over_time"]}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([""], "SOURCE is empty: expected a CloudWatch log group, a file of JSON lines, or -"),
        (["-", "--since", "soon"], "'soon': expected 30m, 12h, 7d, 2w, or a date such as 2026-11-01"),
        (["-", "--reference", "no.json"], "no.json: FileNotFoundError"),
    ],
)
def test_invalid_arguments_are_refused(arguments, expected, capsys):
    """The command exits with 2 and says what was expected."""
    assert expected in run_refused(main, arguments, capsys)


def test_unwritable_folder_is_named(run, tmp_path, capsys):
    """The one-line error names the folder."""
    (tmp_path / "file").write_text("")
    code, _ = run([request(0)], "--out", str(tmp_path / "file/out"))
    assert (1, True) == (code, capsys.readouterr().err.endswith(f"Not a directory: '{tmp_path}/file/out'\n"))


@pytest.mark.process
def test_make_report_reads_standard_input(tmp_path, store):
    """An alarm makes `make` exit with 2 and print the exit code 3 of the command."""
    lines = "\n".join(dark([json.dumps(line) for line in benchmark.generate_traffic(600)]))
    command = ["make", "--silent", "-o", ".venv/.train", "report", "SOURCE=-", f"OUT={tmp_path}"]
    done = execute(*command, stdin=lines, MLFLOW_TRACKING_URI=store)
    assert (2, True) == (done.returncode, "Error 3" in done.stderr), done.stderr
    assert "brightness" in json.loads((tmp_path / "report.json").read_text())["drift"]["drifted"]


def test_benchmark_lines_match_the_function(logged, encode):
    """The generated lines have the fields and metrics of the function's lines."""
    answer = logged.client.post("/predict", content=encode("red"), headers={"content-type": "image/jpeg"}).json()
    logged.client.post("/feedback", json={"request_id": answer["request_id"], "label": "dog"})
    real = logged.lines()
    generated = list(benchmark.generate_traffic(300))

    def shapes(lines):
        return {(line.get("message"), frozenset(line)) for line in lines}

    assert shapes(generated) <= shapes(real)
    assert {"request", "feedback", None} == {message for message, _ in shapes(generated)}


def test_earlier_days_are_closed_before_the_report_is_built(run, monkeypatch):
    """Once every label has its prediction, the remaining days are not read while the report is built."""
    now = datetime.now(UTC)
    events = []

    def stream_earlier(*_):
        try:
            for days in (8, 9):
                events.append("read")
                yield [prediction(0, timestamp=(now - timedelta(days=days)).isoformat())]
        finally:
            events.append("closed")

    def build_report(*arguments):
        events.append("built")
        return report_builder.build_report(*arguments)

    monkeypatch.setattr(log_source, "stream_earlier", stream_earlier)
    monkeypatch.setattr("infra.report.__main__.build_report", build_report)
    run([feedback(0, timestamp=now.isoformat())], "--since", "7d")
    assert ["read", "closed", "built"] == events
