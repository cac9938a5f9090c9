"""Test reading log lines into columns, and counting all other lines."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.report.label_metrics import join_feedback
from infra.report.log_reader import read
from lambda_app.signals import SIGNALS
from tests.infra.report.lines import BEGIN, feedback, part, prediction, request

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


def test_lines_of_the_function_are_read(logged, encode):
    """The app logs a prediction, its feedback and their metrics."""
    answer = logged.client.post("/predict", content=encode("red"), headers={"content-type": "image/jpeg"}).json()
    logged.client.post("/feedback", json={"request_id": answer["request_id"], "label": "dog"})
    log = read(json.dumps(line) for line in logged.lines())
    requests = log.requests
    assert (2, 1) == (log.counts["request"], log.counts["feedback"])
    assert set(log.counts) <= {"request", "feedback", "metrics"}
    assert ["cat", None] == requests["predicted_class"].tolist()
    assert ["dog"] == join_feedback(log)[0]["label"].tolist()
    assert [answer["model_version"]] * 2 == requests["model_version"].tolist()
    assert [] == [name for name in SIGNALS if requests[name][0] != requests[name][0]]


def test_batch_lines_of_the_function_are_read(logged, encode):
    """The app logs one request, a prediction per photo, and feedback on one of them."""
    files = [("file", (f"{color}.jpg", encode(color))) for color in ("red", "blue")]
    answer = logged.client.post("/predict/batch", files=files, headers={"X-Synthetic": "true"}).json()
    feedback_body = {"request_id": answer[1]["request_id"], "label": "cat"}
    logged.client.post("/feedback", json=feedback_body, headers={"X-Synthetic": "true"})
    lines = [json.dumps(line) for line in logged.lines()]
    log, real = read(lines, synthetic=True), read(lines)
    assert (2, 2, 1) == tuple(log.counts[kind] for kind in ("request", "prediction", "feedback"))
    assert ["cat", "dog"] == log.requests["predicted_class"].dropna().tolist()
    assert [("dog", "cat")] == [(row["predicted_class"][0], row["label"][0]) for row in [join_feedback(log)[0]]]
    assert (0, 5) == (len(real.requests), real.counts["synthetic"])


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("START RequestId: 8f5a Version: 3", "not JSON"),
        ("", "not JSON"),
        ('{"message": "request", "status": 2', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"a": ' + "[" * 100_000, "not JSON"),
        ("[ERROR] Runtime exited", "not JSON"),
        (f"2026-01-05T00:00:00Z stream {request(0)}", "not JSON"),  # as `aws logs tail` prints it
        ('"request"', "other"),
        ('{"time": "2026-01-05T00:00:00Z", "type": "platform.report", "record": {}}', "other"),
        ('{"level": "ERROR", "message": {"a": 1}}', "other"),
        ('{"_aws": {}, "Errors": [0.0]}', "metrics"),
        (request(0, request_id=None), "malformed"),
        (request(0, timestamp="yesterday"), "malformed"),
        (request(0, status="ok"), "malformed"),
        (request(0, model_version=7), "malformed"),
        (request(0, total_ms=[1]), "malformed"),
        (request(0, photo_bytes=10**400), "malformed"),
        (request(0, predicted_class="cat"), "malformed"),
        (prediction(0, confidence=1.1), "malformed"),
        (part(0, predicted_class=None), "malformed"),
        (feedback(0, label=None), "malformed"),
    ],
)
def test_other_lines_are_counted_and_skipped(line, kind):
    """The line is counted by kind, and the lines before and after it are read."""
    log = read([request(1), line, request(2)])
    assert (2, 1) == (len(log.requests), log.counts[kind])


@pytest.mark.slow
@given(st.lists(st.text() | JSON.map(json.dumps) | st.dictionaries(st.text(), JSON).map(json.dumps)))
def test_any_line_is_counted_once(lines):
    """Neither text nor JSON raises an error."""
    assert len(lines) == read(lines).counts.total()


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(list(json.loads(prediction(0)))), JSON))
def test_any_field_value_is_accepted(fields):
    """A line with any JSON in any field is counted once."""
    counts = read([json.dumps(json.loads(prediction(0)) | fields)]).counts
    assert 1 == counts.total()


def test_lines_before_the_window_are_counted_as_earlier():
    """A line with a timestamp before the window is only counted."""
    log = read([request(0), request(1), request(2), feedback(0)], BEGIN + timedelta(minutes=1))
    assert (2, 1, 1) == (log.counts["request"], log.counts["earlier"], log.counts["feedback"])


@pytest.mark.parametrize(("feedback_for", "days_read"), [([4], 0), ([4, 1], 3), ([2], 2), ([4, 9], 3)])
def test_earlier_days_are_read_until_all_feedback_is_matched(feedback_for, days_read):
    """No day is read if the window has all predictions; otherwise days are read until all are found or none is left."""
    begun = []

    def days():
        for number in (3, 2, 1):
            begun.append(number)
            yield [prediction(number)]

    lines = [prediction(4), *(feedback(number) for number in feedback_for)]
    log = read(lines, BEGIN + timedelta(minutes=4), days())
    found = [number for number in feedback_for if number != 9]
    assert (days_read, days_read, len(found)) == (len(begun), len(log.earlier), len(join_feedback(log)[0]))


def test_repeated_requests_count_once():
    """A line that occurs twice, as in overlapping files, is read once."""
    log = read([request(0), request(1), request(0), part(2), part(2)])
    assert {"request": 2, "prediction": 1, "repeated": 2} == log.counts
    assert 3 == len(log.requests)


def test_synthetic_lines_are_excluded_by_default():
    """Synthetic requests and feedback are counted, and included on request."""
    lines = [prediction(0), prediction(1, synthetic=True), feedback(1, synthetic=True)]
    assert {"request": 1, "synthetic": 2} == read(lines).counts
    assert {"request": 2, "feedback": 1} == read(lines, synthetic=True).counts


def test_lines_are_sorted_by_time():
    """Requests are sorted by time, because the streams of a log group arrive one after the other."""
    assert [0, 60, 120] == [time - BEGIN.timestamp() for time in read(map(request, (2, 0, 1))).requests["time"]]


@pytest.mark.parametrize("lines_per_part", [1, 2, 3, 5])
def test_parts_of_a_table_fit_together(lines_per_part, monkeypatch):
    """Ids, times, texts and numbers of a line stay in one row, however many parts the lines were converted in."""
    monkeypatch.setattr("infra.report.log_reader.LINES_PER_PART", lines_per_part)
    numbers = (3, 0, 4, 1, 2)
    lines = [
        prediction(number, photo_bytes=number, error_code=f"e{number}" if number % 2 else None) for number in numbers
    ]
    lines += [feedback(number, f"label{number}", later=number) for number in numbers]
    log = read(lines)
    rows = log.requests[["time", "photo_bytes", "error_code"]].to_numpy().tolist()
    codes = {1: "e1", 3: "e3"}
    assert [[BEGIN.timestamp() + 60 * number, number, codes.get(number)] for number in range(5)] == rows
    labeled, _ = join_feedback(log)
    assert [f"label{number}" for number in range(5)] == labeled.sort_values("predicted_at")["label"].tolist()


def test_prediction_without_signals_is_read():
    """A prediction without signals, as older versions logged it, is read with NaN for each signal."""
    log = read([prediction(0, **dict.fromkeys(SIGNALS))])
    assert "cat" == log.requests["predicted_class"][0]
    assert log.requests["entropy"][0] != log.requests["entropy"][0]
