"""Check the log lines and the metrics of requests."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from infra.report.log_reader import REQUIRED
from lambda_app.settings import Settings
from lambda_app.signals import SIGNALS
from lambda_app.telemetry.fields import BatchPredictionFields, CommonFields, FeedbackFields, RequestFields
from lambda_app.telemetry.logger import JsonLogger
from tests.support import ROOT
from tests.support.uploads import post

EMF = Draft202012Validator(json.loads((ROOT / "tests/data/emf.schema.json").read_text()))
PREDICTION_ID = "11111111-2222-3333-4444-555555555555"

LOGGER_FIELDS = {"level", "message", "timestamp", "service"}
COMMON_FIELDS = LOGGER_FIELDS | CommonFields.__required_keys__
REQUEST_FIELDS = COMMON_FIELDS | RequestFields.__required_keys__
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
    return post(logged.client, data, "image/jpeg")


def send_feedback(logged, label="dog"):
    return logged.client.post("/feedback", json={"request_id": PREDICTION_ID, "label": label})


def split(lines):
    """Return the log lines and the EMF records."""
    return [line for line in lines if "_aws" not in line], [line for line in lines if "_aws" in line]


def shapes(record):
    """Return the dimensions and the unit of each metric for each directive of an EMF record."""
    directives = record["_aws"]["CloudWatchMetrics"]
    assert {"PetClassifier"} == {directive["Namespace"] for directive in directives}
    return [
        (sorted(dimensions), {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]})
        for directive in directives
        for dimensions in directive["Dimensions"]
    ]


def test_prediction_is_one_line(logged, encode):
    """The line holds the prediction, the photo's format and size, and the time of each step."""
    body = predict(logged, encode("red", (64, 48))).json()
    [line], records = split(logged.lines())
    assert REQUEST_FIELDS | PREDICTION_FIELDS == set(line)
    assert (body["request_id"], "cat", "/predict", 200) == (
        line["request_id"],
        line["predicted_class"],
        line["route"],
        line["status"],
    )
    assert ("JPEG", 64, 48) == (line["photo_format"], line["photo_width"], line["photo_height"])
    assert line["decode_ms"] + line["inference_ms"] <= line["total_ms"]
    assert {body["request_id"]} == {record["request_id"] for record in records}


def test_batch_has_one_line_per_prediction(logged, encode):
    """The request's line counts the photos; each prediction has a line with its own id and the batch's."""
    photos = [encode("red"), b"text", encode("blue"), encode("gray")]
    response = logged.client.post("/predict/batch", files=[("file", ("x.jpg", data)) for data in photos])
    [request, *predictions], [record, _] = split(logged.lines())
    assert REQUEST_FIELDS | {"photos", "failed"} == set(request)
    failed = {"unsupported_image": 1}
    assert ("/predict/batch", 200, 4, failed) == tuple(
        request[name] for name in ("route", "status", "photos", "failed")
    )
    batch_fields = COMMON_FIELDS | BatchPredictionFields.__required_keys__
    assert [batch_fields | PREDICTION_FIELDS] * 3 == [set(line) for line in predictions]
    assert [result["request_id"] for result in response.json() if "error" not in result] == [
        line["request_id"] for line in predictions
    ]
    assert {("prediction", request["request_id"])} == {(line["message"], line["batch_id"]) for line in predictions}
    assert ([0.0], [1.0], 3) == (record["Errors"], record["FailedPhotos"], len(record["InferenceLatency"]))


def test_synthetic_request_is_marked(logged):
    """Smoke tests and replays mark their requests, so that the report can exclude them."""
    for headers in ({}, {"x-synthetic": "true"}, {"x-synthetic": "cat"}):
        logged.client.get("/health", headers=headers)
    lines, _ = split(logged.lines())
    assert [None, True, None] == [line.get("synthetic") for line in lines]


def test_synthetic_request_is_in_no_metric_of_predictions(logged, encode):
    """Otherwise, a replay of photos without pets would set off the alarm for unknown photos."""
    post(logged.client, encode(), "image/jpeg", **{"x-synthetic": "true"})
    _, [record] = split(logged.lines())
    assert {"Predictions", "Unknown", "InferenceLatency"} & set(record) == {"InferenceLatency"}


def test_error_is_logged_with_its_code(logged):
    """The line of a failed request holds the error code and no prediction."""
    predict(logged, b"text")
    [line], [record] = split(logged.lines())
    assert REQUEST_FIELDS | {"error_code"} == set(line)
    assert ("unsupported_image", 415, [1.0]) == (line["error_code"], line["status"], record["Errors"])


def test_cold_start_is_the_first_request_only(logged):
    """The first request of an instance is a cold start, whatever its route."""
    for _ in range(3):
        logged.client.get("/health")
    lines, records = split(logged.lines())
    assert [True, False, False] == [line["cold_start"] for line in lines]
    assert [[1.0], [0.0], [0.0]] == [record["ColdStart"] for record in records]


def test_metrics_have_their_units_and_dimensions(logged, encode):
    """Predictions are counted by class and for the whole service, other metrics by model version."""
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


def test_dimensions_do_not_leak_into_the_next_request(logged, encode):
    """A health check after a prediction has no class."""
    predict(logged, encode("blue"))
    logged.client.get("/health")
    _, [*_, record] = split(logged.lines())
    assert "class" not in record
    assert [(["model_version", "service"], {"ColdStart": "Count", "Errors": "Count"})] == shapes(record)


def test_feedback_has_a_line_beside_its_request(logged):
    """The line of the feedback holds the prediction's id and the true class."""
    response = send_feedback(logged)
    [request, line], [record] = split(logged.lines())
    assert COMMON_FIELDS | FeedbackFields.__required_keys__ == set(line)
    assert ("feedback", PREDICTION_ID, "dog") == (line["message"], line["feedback_for"], line["label"])
    assert ("request", "/feedback", 200) == (request["message"], request["route"], request["status"])
    assert {response.headers["x-request-id"]} == {line["request_id"], request["request_id"], record["request_id"]}
    units = {"Feedback": "Count", "ColdStart": "Count", "Errors": "Count"}
    assert ([(["model_version", "service"], units)], [1.0]) == (shapes(record), record["Feedback"])


def test_rejected_feedback_is_only_an_error(logged):
    """Rejected feedback has no line of its own and is not counted."""
    send_feedback(logged, label="sofa")
    [line], [record] = split(logged.lines())
    assert ("request", "bad_field") == (line["message"], line["error_code"])
    assert "Feedback" not in record


def test_report_reads_only_fields_that_the_function_writes():
    """The fields that the report requires are in the function's definitions."""
    written = {
        "request": REQUEST_FIELDS,
        "prediction": COMMON_FIELDS | BatchPredictionFields.__required_keys__ | PREDICTION_FIELDS,
        "feedback": COMMON_FIELDS | FeedbackFields.__required_keys__,
    }
    assert written.keys() == REQUIRED.keys()
    assert {} == {kind: unknown for kind, names in REQUIRED.items() if (unknown := set(names) - written[kind])}


def test_metric_lines_follow_the_schema_of_cloudwatch(logged, encode):
    """Each line validates against AWS's schema and holds the dimensions and metrics that it declares."""
    predict(logged, encode("blue"))
    predict(logged, b"text")
    send_feedback(logged)
    _, records = split(logged.lines())
    assert 3 == len(records)
    for record in records:
        assert [] == [error.message for error in EMF.iter_errors(record)]
        for dimensions, units in shapes(record):
            assert all(isinstance(record[name], str) and record[name] for name in dimensions)
            assert all(isinstance(value, float) for name in units for value in record[name])


def test_service_name_is_that_of_the_settings(logged):
    """Log lines and metrics name the service, which separates two deployments in one account."""
    logged.settings = Settings(service_name="pets-dev")
    predict(logged, b"text")
    assert {"pets-dev"} == {line["service"] for line in logged.lines()}


@pytest.mark.parametrize(("data", "expected"), [(b"text", 1), (None, 0)])
def test_level_warning_logs_failed_requests_only(logged, encode, data, expected):
    """With LOG_LEVEL=WARNING, a successful request has no line."""
    logged.settings = Settings(log_level="WARNING")
    predict(logged, data or encode())
    lines, _ = split(logged.lines())
    assert expected == len(lines)


@pytest.mark.parametrize("value", ["\ud800", "a\nb\u2028c", "é", Path("a")], ids=ascii)
def test_any_value_is_one_line(capsys, value):
    """A value with a lone surrogate, a line break or no JSON type gives one line of ASCII."""
    JsonLogger("pet-classifier", "INFO").info("x", {"value": value})
    text = capsys.readouterr().out
    assert text.isascii()
    assert [str(value)] == [json.loads(line)["value"] for line in text.splitlines()]
