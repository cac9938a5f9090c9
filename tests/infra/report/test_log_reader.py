"""Lines to columns: what the function writes is understood, all else is counted."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.report.label_metrics import join
from infra.report.log_reader import SIGNALS, read
from lambda_app import signals
from tests.infra.report.lines import BEGIN, feedback, part, prediction, request

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


def test_what_the_function_writes_is_read(logged, encode):
    """A prediction, its feedback and their metrics, from the app itself."""
    answer = logged.client.post("/predict", content=encode("red"), headers={"content-type": "image/jpeg"}).json()
    logged.client.post("/feedback", json={"request_id": answer["request_id"], "label": "dog"})
    log = read(json.dumps(line) for line in logged.lines())
    requests = log.requests
    assert (2, 1) == (log.counts["request"], log.counts["feedback"])
    assert set(log.counts) <= {"request", "feedback", "metrics"}
    assert ["cat", None] == requests["predicted_class"].tolist()
    assert ["dog"] == join(log)[0]["label"].tolist()
    assert [answer["model_version"]] * 2 == requests["model_version"].tolist()
    assert [] == [name for name in SIGNALS if requests[name][0] != requests[name][0]]


def test_photos_that_come_together_are_read(logged, encode):
    """One request, a prediction of each photo, and feedback of one of them by its own id, from the app itself."""
    files = [("file", (f"{colour}.jpg", encode(colour))) for colour in ("red", "blue")]
    answer = logged.client.post("/predict/batch", files=files, headers={"X-Synthetic": "true"}).json()
    about = {"request_id": answer[1]["request_id"], "label": "cat"}
    logged.client.post("/feedback", json=about, headers={"X-Synthetic": "true"})
    lines = [json.dumps(line) for line in logged.lines()]
    log, ours = read(lines, synthetic=True), read(lines)
    assert (2, 2, 1) == tuple(log.counts[kind] for kind in ("request", "prediction", "feedback"))
    assert ["cat", "dog"] == log.requests.having("predicted_class")["predicted_class"].tolist()
    assert [("dog", "cat")] == [(row["predicted_class"][0], row["label"][0]) for row in [join(log)[0]]]
    assert (0, 5) == (len(ours.requests), ours.counts["synthetic"])


def test_the_signals_are_those_that_the_function_logs():
    """The rooms do not import each other; the names are the same all the same."""
    assert signals.SIGNALS == SIGNALS


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("START RequestId: 8f5a Version: 3", "no JSON"),
        ("", "no JSON"),
        ('{"message": "request", "status": 2', "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('"request"', "another's"),
        ('{"time": "2026-01-05T00:00:00Z", "type": "platform.report", "record": {}}', "another's"),
        ('{"level": "ERROR", "message": {"a": 1}}', "another's"),
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
def test_another_line_is_counted_and_passed_over(line, kind):
    """Whatever stands before and after it is read."""
    log = read([request(1), line, request(2)])
    assert (2, 1) == (len(log.requests), log.counts[kind])


@given(st.lists(st.text() | JSON.map(json.dumps) | st.dictionaries(st.text(), JSON).map(json.dumps)))
def test_no_line_stops_the_report(lines):
    """Any text, any JSON: each line is counted once."""
    assert len(lines) == read(lines).counts.total()


@given(st.dictionaries(st.sampled_from(list(json.loads(prediction(0)))), JSON))
def test_no_value_stops_the_report(fields):
    """Any JSON in any field of a line: it is read or counted as something else, as one line."""
    counts = read([json.dumps(json.loads(prediction(0)) | fields)]).counts
    assert 1 == counts.total()


def test_only_what_came_since_then_counts():
    """By the line's own time."""
    log = read([request(0), request(1), request(2), feedback(0)], BEGIN + timedelta(minutes=1))
    assert (2, 1, 1) == (log.counts["request"], log.counts["earlier"], log.counts["feedback"])


@pytest.mark.parametrize(("told", "asked"), [([4], 0), ([4, 1], 3), ([2], 2), ([4, 9], 3)])
def test_of_what_is_earlier_as_much_is_read_as_feedback_needs(told, asked):
    """None where each prediction is in the window; else day by day, until all are found or there is no other."""
    begun = []

    def days():
        for number in (3, 2, 1):
            begun.append(number)
            yield [prediction(number)]

    lines = [prediction(4), *(feedback(number) for number in told)]
    log = read(lines, BEGIN + timedelta(minutes=4), days())
    found = [number for number in told if number != 9]
    assert (asked, asked, len(found)) == (len(begun), len(log.earlier), len(join(log)[0]))


def test_a_request_that_is_read_twice_is_one():
    """Files that overlap."""
    log = read([request(0), request(1), request(0), part(2), part(2)])
    assert {"request": 2, "prediction": 1, "repeated": 2} == log.counts
    assert 3 == len(log.requests)


def test_rehearsals_are_left_out():
    """Requests and feedback that say so themselves; they are counted, and can be asked for."""
    lines = [prediction(0), prediction(1, synthetic=True), feedback(1, synthetic=True)]
    assert {"request": 1, "synthetic": 2} == read(lines).counts
    assert {"request": 2, "feedback": 1} == read(lines, synthetic=True).counts


def test_lines_may_come_in_any_order():
    """Streams of a log group are read one after the other."""
    assert [0, 60, 120] == [time - BEGIN.timestamp() for time in read(map(request, (2, 0, 1))).requests["time"]]


def test_a_line_without_signals_is_still_a_prediction():
    """Of an older function."""
    log = read([prediction(0, **dict.fromkeys(SIGNALS))])
    assert "cat" == log.requests["predicted_class"][0]
    assert log.requests["entropy"][0] != log.requests["entropy"][0]
