"""Test the routes with the tiny model: red photos are cats, blue photos are dogs."""

import tomllib

import pytest
from starlette.testclient import TestClient

from lambda_app import __version__
from lambda_app.app import create_app
from lambda_app.settings import Settings
from tests.support import ROOT
from tests.support.uploads import post

PREDICTION = {
    "predicted_class",
    "predicted_label",
    "confidence",
    "probabilities",
    "unknown",
    "model_version",
    "request_id",
    "processing_time_ms",
}


@pytest.mark.parametrize(("color", "expected", "label"), [("red", "cat", 0), ("blue", "dog", 1)])
@pytest.mark.parametrize("way", ["raw", "multipart"])
def test_predict_returns_every_field_for_both_kinds_of_body(client, encode, color, expected, label, way):
    """A photo as the raw body and as a form's file get the same complete response."""
    data = encode(color)
    answer = (
        post(client, data, "image/jpeg") if way == "raw" else client.post("/predict", files={"file": ("x.jpg", data)})
    )
    body = answer.json()
    assert (200, PREDICTION) == (answer.status_code, set(body))
    assert (expected, label, False) == (body["predicted_class"], body["predicted_label"], body["unknown"])
    assert body["confidence"] == body["probabilities"][expected]
    assert sum(body["probabilities"].values()) == pytest.approx(1)
    assert body["processing_time_ms"] > 0
    assert answer.headers["x-request-id"] == body["request_id"]


def test_unknown_photo_still_has_a_prediction(client, encode):
    """A photo of none of the classes has `unknown` and a predicted class."""
    body = post(client, encode("gray"), "image/jpeg").json()
    assert (True, {"cat", "dog"}) == (body["unknown"], set(body["probabilities"]))


def test_health_describes_the_model(client):
    """The response has status, model, version and device."""
    expected = {"status": "healthy", "model_loaded": True, "model_version": "2026.01.01-tiny", "device": "cpu"}
    assert expected == client.get("/health").json()


def test_model_info_is_the_metadata_of_the_file(client, tiny_classifier):
    """The response equals the metadata of the model file."""
    metadata = tiny_classifier.metadata
    body = client.get("/model/info").json()
    assert ("", "") == (body.pop("image"), body.pop("commit"))
    assert __version__ == body.pop("software_version")
    assert metadata == type(metadata)(**body | {"class_names": tuple(body["class_names"])})


def test_model_info_names_the_image(tiny_classifier):
    """The response has the image's digest and commit, which the deployment sets."""
    settings = Settings.from_env({"IMAGE": "registry/classifier@sha256:abc", "COMMIT": "1f2e3d"})
    with TestClient(create_app(tiny_classifier, settings)) as client:
        body = client.get("/model/info").json()
    assert ("registry/classifier@sha256:abc", "1f2e3d") == (body["image"], body["commit"])


def test_metrics_count_predictions_errors_and_health_checks(client, encode):
    """The Prometheus text counts predictions by class, unknown photos, errors by code, and health checks."""
    for photo in (encode("red"), encode("red"), encode("blue"), encode("gray"), b"text"):
        post(client, photo, "image/jpeg")
    client.get("/nowhere")
    client.get("/health")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert {
        'prediction_requests_total{predicted_class="cat"} 3.0',  # the tiny model predicts cat for gray
        'prediction_requests_total{predicted_class="dog"} 1.0',
        "prediction_unknown_total 1.0",
        "prediction_latency_seconds_count 4.0",
        'prediction_errors_total{code="unsupported_image"} 1.0',
        'prediction_errors_total{code="not_found"} 1.0',
        "health_check_requests_total 1.0",
        'model_info{model_version="2026.01.01-tiny"} 1.0',
    } <= set(answer.text.splitlines())


def test_pyproject_has_the_version_of_the_software():
    """`pyproject.toml` and `lambda_app.__version__` are equal."""
    assert __version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_prediction_log_of_a_new_instance_is_empty(client):
    """Averages without predictions are null."""
    averages = dict.fromkeys(["average_confidence", "average_latency_ms", "p95_latency_ms"])
    assert {"count": 0, "class_distribution": {}, "predictions": []} | averages == client.get("/prediction-log").json()


def test_prediction_log_has_newest_first(client, encode):
    """The log has the newest prediction first and the averages of all; it has no refused photos."""
    answers = [post(client, encode(color), "image/jpeg").json() for color in ("red", "blue", "gray")]
    post(client, b"text", "image/jpeg")
    log = client.get("/prediction-log").json()
    latencies = [one["latency_ms"] for one in log["predictions"]]
    confidences = [pytest.approx(answer["confidence"], abs=1e-6) for answer in reversed(answers)]
    assert confidences == [one["confidence"] for one in log["predictions"]]
    assert [True, False, False] == [one["unknown"] for one in log["predictions"]]
    assert (3, {"cat": 2, "dog": 1}) == (log["count"], log["class_distribution"])
    assert log["average_confidence"] == pytest.approx(sum(answer["confidence"] for answer in answers) / 3, abs=1e-6)
    assert log["average_latency_ms"] == pytest.approx(sum(latencies) / 3)
    assert sorted(latencies)[1] <= log["p95_latency_ms"] <= max(latencies)


def test_prediction_log_keeps_the_last_hundred(client, encode):
    """The log is bounded, so the memory of a long-lived instance does not grow."""
    for color in ("blue", *["red"] * 100):
        post(client, encode(color), "image/jpeg")
    log = client.get("/prediction-log").json()
    assert (100, 100, {"cat": 100}) == (log["count"], len(log["predictions"]), log["class_distribution"])


def test_prediction_log_has_no_request_ids(client, encode):
    """The log has no request ids, because anyone who knows one can send feedback for it."""
    answer = post(client, encode(), "image/jpeg").json()
    assert answer["request_id"] not in client.get("/prediction-log").text
