"""What a request leaves behind: one log line and one EMF record, and nothing that a client sent."""

import pytest

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
}


def predict(logged, data):
    return logged.client.post("/predict", content=data, headers={"content-type": "image/jpeg"})


def split(lines):
    """The log lines and the EMF records."""
    return [line for line in lines if "_aws" not in line], [line for line in lines if "_aws" in line]


def test_a_prediction_is_one_line_and_one_record(logged, encode):
    """The line carries what was predicted, of what kind of photo, and where the time went."""
    body = predict(logged, encode("red", (64, 48))).json()
    [line], [record] = split(logged.lines())
    assert LOG_FIELDS | PREDICTION_FIELDS == set(line)
    assert (body["request_id"], "cat", "/predict", 200) == (
        line["request_id"],
        line["predicted_class"],
        line["route"],
        line["status"],
    )
    assert ("JPEG", 64, 48) == (line["photo_format"], line["photo_width"], line["photo_height"])
    assert line["decode_ms"] + line["inference_ms"] <= line["total_ms"]
    assert body["request_id"] == record["request_id"]


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
    """CloudWatch makes metrics by service and model version, and by class; ids are properties."""
    predict(logged, encode("blue"))
    _, [record] = split(logged.lines())
    [directive] = record["_aws"]["CloudWatchMetrics"]
    assert "PetClassifier" == directive["Namespace"]
    assert [{"service", "model_version"}, {"service", "model_version", "class"}] == list(
        map(set, directive["Dimensions"])
    )
    units = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    expected = {"Predictions", "Unknown", "ColdStart", "Errors"}
    assert dict.fromkeys(expected, "Count") | {"InferenceLatency": "Milliseconds"} == units
    assert ("dog", [1.0], [0.0]) == (record["class"], record["Predictions"], record["Unknown"])


def test_dimensions_of_one_request_do_not_leak_into_the_next(logged, encode):
    """After a dog, a health check belongs to no class."""
    predict(logged, encode("blue"))
    logged.client.get("/health")
    _, [_, record] = split(logged.lines())
    assert "class" not in record
    assert [["service", "model_version"]] == [
        sorted(dimensions, reverse=True) for dimensions in record["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
    ]


@pytest.mark.parametrize("path", ["/predict", "/secret-path"])
def test_nothing_that_a_client_sent_is_logged(logged, encode, path):
    """No file name, field, header, query, cookie, path or photo; a secret in each is nowhere in the output."""
    photo = encode("red", comment=b"secret-comment")
    logged.client.cookies.set("c", "secret-cookie")
    logged.client.post(
        path,
        params={"q": "secret-query"},
        files={"file": ("secret-name.jpg", photo)},
        data={"field": "secret-field"},
        headers={"x-secret": "secret-header", "user-agent": "secret-agent", "x-request-id": "secret-id"},
    )
    assert "secret" not in str(logged.lines())
