"""What a request leaves behind: one log line and its metrics."""

import json
import logging
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from lambda_app.settings import Settings
from lambda_app.signals import SIGNALS

EMF = Draft202012Validator(json.loads((Path(__file__).parent.parent / "emf.schema.json").read_text()))
PREDICTION_ID = "11111111-2222-3333-4444-555555555555"

LOG_FIELDS = {
    "level",
    "message",
    "timestamp",
    "service",
    "request_id",
    "method",
    "route",
    "status",
    "cold_start",
    "model_version",
    "total_ms",
}
PREDICTION_FIELDS = {
    "predicted_class",
    "confidence",
    "unknown",
    "photo_format",
    "photo_bytes",
    "photo_width",
    "photo_height",
    "decode_ms",
    "inference_ms",
    *SIGNALS,
}


def predict(logged, data):
    return logged.client.post("/predict", content=data, headers={"content-type": "image/jpeg"})


def feedback(logged, label="dog"):
    return logged.client.post("/feedback", json={"request_id": PREDICTION_ID, "label": label})


def split(lines):
    """The log lines and the EMF records."""
    return [line for line in lines if "_aws" not in line], [line for line in lines if "_aws" in line]


def shapes(record):
    """The dimensions, and the unit of each metric, of each directive of an EMF record."""
    directives = record["_aws"]["CloudWatchMetrics"]
    assert {"PetClassifier"} == {directive["Namespace"] for directive in directives}
    return [
        (sorted(dimensions), {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]})
        for directive in directives
        for dimensions in directive["Dimensions"]
    ]


def test_a_prediction_is_one_line(logged, encode):
    """The line carries what was predicted, of what kind of photo, and where the time went."""
    body = predict(logged, encode("red", (64, 48))).json()
    [line], records = split(logged.lines())
    assert LOG_FIELDS | PREDICTION_FIELDS == set(line)
    assert (body["request_id"], "cat", "/predict", 200) == (
        line["request_id"],
        line["predicted_class"],
        line["route"],
        line["status"],
    )
    assert ("JPEG", 64, 48) == (line["photo_format"], line["photo_width"], line["photo_height"])
    assert line["decode_ms"] + line["inference_ms"] <= line["total_ms"]
    assert {body["request_id"]} == {record["request_id"] for record in records}


def test_photos_that_came_together_have_a_line_each(logged, encode):
    """Beside the request's, which counts them: the fields of a single prediction under its own id, and the batch's."""
    photos = [encode("red"), b"text", encode("blue"), encode("grey")]
    answer = logged.client.post("/predict/batch", files=[("file", ("x.jpg", data)) for data in photos])
    [request, *predictions], [record, _] = split(logged.lines())
    assert LOG_FIELDS | {"photos", "failed"} == set(request)
    failed = {"unsupported_image": 1}
    assert ("/predict/batch", 200, 4, failed) == tuple(
        request[name] for name in ("route", "status", "photos", "failed")
    )
    about = {"level", "message", "timestamp", "service", "request_id", "model_version", "batch_id"}
    assert [about | PREDICTION_FIELDS] * 3 == [set(line) for line in predictions]
    assert [one["request_id"] for one in answer.json() if "error" not in one] == [
        line["request_id"] for line in predictions
    ]
    assert {("prediction", request["request_id"])} == {(line["message"], line["batch_id"]) for line in predictions}
    assert ([0.0], [1.0], 3) == (record["Errors"], record["FailedPhotos"], len(record["InferenceLatency"]))


def test_nobodys_own_photo_is_marked(logged, encode):
    """A smoke test or a rehearsal says that it is one, and the report can leave it out."""
    for headers in ({}, {"x-synthetic": "true"}, {"x-synthetic": "cat"}):
        logged.client.get("/health", headers=headers)
    lines, _ = split(logged.lines())
    assert [None, True, None] == [line.get("synthetic") for line in lines]


def test_nobodys_own_photo_rings_no_alarm(logged, encode):
    """It counts in no metric of predictions, or a rehearsal with sofas would ring the alarm of unknown photos."""
    headers = {"content-type": "image/jpeg", "x-synthetic": "true"}
    logged.client.post("/predict", content=encode(), headers=headers)
    _, [record] = split(logged.lines())
    assert {"Predictions", "Unknown", "InferenceLatency"} & set(record) == {"InferenceLatency"}


def test_an_error_is_logged_with_its_code(logged):
    """And without prediction fields."""
    predict(logged, b"text")
    [line], [record] = split(logged.lines())
    assert LOG_FIELDS | {"error_code"} == set(line)
    assert ("unsupported_image", 415, [1.0]) == (line["error_code"], line["status"], record["Errors"])


def test_only_the_first_request_is_a_cold_start(logged):
    """Of this instance, whatever it asked."""
    for _ in range(3):
        logged.client.get("/health")
    lines, records = split(logged.lines())
    assert [True, False, False] == [line["cold_start"] for line in lines]
    assert [[1.0], [0.0], [0.0]] == [record["ColdStart"] for record in records]


def test_metrics_have_their_units_and_dimensions(logged, encode):
    """Predictions are counted by class and of the whole service, the rest by model version; ids are properties."""
    predict(logged, encode("blue"))
    _, [record] = split(logged.lines())
    units = {"InferenceLatency": "Milliseconds", "ColdStart": "Count", "Errors": "Count"}
    by_class = {"Predictions": "Count", "Unknown": "Count"}
    assert [
        (["class", "model_version", "service"], by_class),
        (["service"], by_class),
        (["model_version", "service"], units),
    ] == shapes(record)
    assert ("dog", [1.0], [0.0]) == (record["class"], record["Predictions"], record["Unknown"])


def test_dimensions_of_one_request_do_not_leak_into_the_next(logged, encode):
    """After a dog, a health check belongs to no class."""
    predict(logged, encode("blue"))
    logged.client.get("/health")
    _, [*_, record] = split(logged.lines())
    assert "class" not in record
    assert [(["model_version", "service"], {"ColdStart": "Count", "Errors": "Count"})] == shapes(record)


def test_feedback_is_a_line_beside_its_requests(logged):
    """It names the prediction that it is about and the true class; the request has its own line and id."""
    answer = feedback(logged)
    [request, line], [record] = split(logged.lines())
    assert {"level", "message", "timestamp", "service", "request_id", "model_version", "feedback_for", "label"} == set(
        line
    )
    assert ("feedback", PREDICTION_ID, "dog") == (line["message"], line["feedback_for"], line["label"])
    assert ("request", "/feedback", 200) == (request["message"], request["route"], request["status"])
    assert {answer.headers["x-request-id"]} == {line["request_id"], request["request_id"], record["request_id"]}
    units = {"Feedback": "Count", "ColdStart": "Count", "Errors": "Count"}
    assert ([(["model_version", "service"], units)], [1.0]) == (shapes(record), record["Feedback"])


def test_refused_feedback_is_an_error_alone(logged):
    """No feedback line, and no count of feedback."""
    feedback(logged, label="sofa")
    [line], [record] = split(logged.lines())
    assert ("request", "bad_field") == (line["message"], line["error_code"])
    assert "Feedback" not in record


def test_every_metric_line_is_what_cloudwatch_reads(logged, encode):
    """AWS's schema; and each dimension and metric that a line declares is there, a text and a number."""
    predict(logged, encode("blue"))
    predict(logged, b"text")
    feedback(logged)
    _, records = split(logged.lines())
    assert 3 == len(records)
    for record in records:
        assert [] == [error.message for error in EMF.iter_errors(record)]
        for dimensions, units in shapes(record):
            assert all(isinstance(record[name], str) and record[name] for name in dimensions)
            assert all(isinstance(value, float) for name in units for value in record[name])


@pytest.mark.parametrize("broken", [{"Timestamp": "now"}, {"CloudWatchMetrics": [{"Namespace": ""}]}])
def test_the_schema_refuses_what_cloudwatch_would_not_read(logged, broken):
    """Or agreeing with it would mean nothing."""
    logged.client.get("/health")
    _, [record] = split(logged.lines())
    record["_aws"] |= broken
    assert list(EMF.iter_errors(record))


def test_the_service_is_the_settings(logged, monkeypatch):
    """Of log lines and metrics alike, so that two deployments in one account are apart."""
    monkeypatch.setitem(logging.root.manager.loggerDict, "pets-dev", None)  # afterwards it is as unknown as before
    del logging.root.manager.loggerDict["pets-dev"]
    logged.settings = Settings(service_name="pets-dev")
    predict(logged, b"text")
    assert {"pets-dev"} == {line["service"] for line in logged.lines()}


@pytest.mark.parametrize(("data", "expected"), [(b"text", 1), (None, 0)])
def test_at_level_warning_only_what_failed_is_logged(logged, encode, data, expected):
    """LOG_LEVEL=WARNING, as README promises."""
    logged.settings = Settings(log_level="WARNING")
    predict(logged, data or encode())
    lines, _ = split(logged.lines())
    assert expected == len(lines)
