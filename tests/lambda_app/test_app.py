"""The HTTP interface, on the tiny model: red photos are cats, blue ones dogs."""

import json
import tomllib

import pytest
from starlette.testclient import TestClient

from lambda_app import __version__
from lambda_app.app import create_app
from lambda_app.settings import Settings
from tests.conftest import ROOT

FEEDBACK = {"request_id": "abcdef11-2222-3333-4444-555555555555", "label": "dog"}

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


def post(client, data, content_type="image/jpeg"):
    return client.post("/predict", content=data, headers={"content-type": content_type})


@pytest.mark.parametrize(("colour", "expected", "label"), [("red", "cat", 0), ("blue", "dog", 1)])
@pytest.mark.parametrize("way", ["raw", "multipart"])
def test_predict_answers_every_field_both_ways(client, encode, colour, expected, label, way):
    """A photo as the raw body or as the form's file gives the same complete answer."""
    data = encode(colour)
    answer = post(client, data) if way == "raw" else client.post("/predict", files={"file": ("x.jpg", data)})
    body = answer.json()
    assert (200, PREDICTION) == (answer.status_code, set(body))
    assert (expected, label, False) == (body["predicted_class"], body["predicted_label"], body["unknown"])
    assert body["confidence"] == body["probabilities"][expected]
    assert sum(body["probabilities"].values()) == pytest.approx(1)
    assert body["processing_time_ms"] > 0


def test_a_photo_of_neither_is_unknown_and_still_answered(client, encode):
    """`unknown` never hides the prediction."""
    body = post(client, encode("grey")).json()
    assert (True, {"cat", "dog"}) == (body["unknown"], set(body["probabilities"]))


@pytest.mark.parametrize("content_type", ["image/png", "IMAGE/PNG", "image/png; name=x"])
def test_the_bytes_decide_what_kind_of_image_it_is(client, encode, content_type):
    """Any image content type is believed to be some image; the decoder finds out which."""
    assert 200 == post(client, encode("red", image_format="WEBP"), content_type).status_code


def test_other_fields_of_the_form_are_ignored(client, encode):
    """A form may carry more than the photo."""
    answer = client.post("/predict", data={"name": "Tom"}, files={"file": ("x.jpg", encode())})
    assert 200 == answer.status_code


def test_the_request_id_is_in_body_and_header(client, encode):
    """So that a complaint can quote it."""
    answer = post(client, encode())
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


def test_health_says_what_is_loaded(client):
    """Status, model, version and device."""
    expected = {"status": "healthy", "model_loaded": True, "model_version": "2026.01.01-tiny", "device": "cpu"}
    assert expected == client.get("/health").json()


def test_api_information_lists_every_route(client):
    """What `GET /` names is what the application routes, and the other way round."""
    listed = {tuple(route.split()) for route in client.get("/").json()["routes"]}
    documented = {
        (method.upper(), path)
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    assert documented == listed


def test_model_information_is_the_files_metadata(client, tiny_classifier):
    """Nothing is retyped between the model file and the answer."""
    metadata = tiny_classifier.metadata
    body = client.get("/model/info").json()
    assert ("", "") == (body.pop("image"), body.pop("commit"))
    assert __version__ == body.pop("software_version")
    assert metadata == type(metadata)(**body | {"class_names": tuple(body["class_names"])})


def test_model_information_names_the_image_that_answers(tiny_classifier):
    """By its digest, and by the commit that it was built from, as the deployment says."""
    settings = Settings.from_env({"IMAGE": "registry/classifier@sha256:abc", "COMMIT": "1f2e3d"})
    with TestClient(create_app(tiny_classifier, settings)) as client:
        body = client.get("/model/info").json()
    assert ("registry/classifier@sha256:abc", "1f2e3d") == (body["image"], body["commit"])


def test_metrics_count_what_was_predicted(client, encode):
    """Prometheus text: a counter by class and a histogram of latency."""
    for colour in ("red", "red", "blue"):
        post(client, encode(colour))
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    lines = answer.text.splitlines()
    assert 'prediction_requests_total{predicted_class="cat"} 2.0' in lines
    assert 'prediction_requests_total{predicted_class="dog"} 1.0' in lines
    assert "prediction_latency_seconds_count 3.0" in lines


def test_a_refused_photo_is_not_a_prediction(client):
    """Errors do not count as classified, but by their code, whichever route gave them."""
    post(client, b"text")
    client.get("/nowhere")
    lines = client.get("/metrics").text.splitlines()
    assert "prediction_latency_seconds_count 0.0" in lines
    assert 'prediction_errors_total{code="unsupported_image"} 1.0' in lines
    assert 'prediction_errors_total{code="not_found"} 1.0' in lines


def test_metrics_count_what_else_happened(client, encode):
    """Unknown photos, feedback by its label and health checks; and they name the model."""
    request_id = post(client, encode("grey")).json()["request_id"]
    client.post("/feedback", json=FEEDBACK | {"request_id": request_id})
    client.get("/health")
    lines = client.get("/metrics").text.splitlines()
    assert {
        'model_info{model_version="2026.01.01-tiny"} 1.0',
        "prediction_unknown_total 1.0",
        'feedback_total{label="dog"} 1.0',
        "health_check_requests_total 1.0",
    } <= set(lines)


def test_feedback_is_answered_with_what_was_understood(client):
    """The prediction's id, in its one spelling, the label and the model; saying it again changes nothing."""
    expected = FEEDBACK | {"model_version": "2026.01.01-tiny"}
    given = FEEDBACK | {"request_id": FEEDBACK["request_id"].upper()}
    answers = [client.post("/feedback", json=given) for _ in range(2)]
    assert [(200, expected)] * 2 == [(answer.status_code, answer.json()) for answer in answers]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"request_id": "7", "label": "dog"}', "request_id: Input should be a valid UUID"),
        (json.dumps(FEEDBACK | {"label": "sofa"}).encode(), "label is 'sofa'; expected one of cat, dog"),
        (json.dumps(FEEDBACK | {"label": 1}).encode(), "label: Input should be a valid string"),
        (b'{"label": "dog"}', "request_id: Field required"),
        (b"", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b"\xff", "Invalid JSON"),
    ],
)
def test_feedback_that_does_not_fit_is_422(client, body, said):
    """The one error shape, naming the field or the value and what was expected."""
    answer = client.post("/feedback", content=body, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (422, "bad_field") == (answer.status_code, error["code"])
    assert said in error["message"]


def test_pyproject_has_the_version_of_the_software():
    """`pyproject.toml` and `lambda_app.__version__` are equal."""
    assert __version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_prediction_log_of_a_new_instance_is_empty(client):
    """Averages of nothing are null."""
    averages = dict.fromkeys(["average_confidence", "average_latency_ms", "p95_latency_ms"])
    assert {"count": 0, "class_distribution": {}, "predictions": []} | averages == client.get("/prediction-log").json()


def test_the_prediction_log_describes_what_was_predicted(client, encode):
    """Newest first, with the figures of all of them; refused photos are not among them."""
    answers = [post(client, encode(colour)).json() for colour in ("red", "blue", "grey")]
    post(client, b"text")
    log = client.get("/prediction-log").json()
    latencies = [one["latency_ms"] for one in log["predictions"]]
    confidences = [pytest.approx(answer["confidence"], abs=1e-6) for answer in reversed(answers)]
    assert confidences == [one["confidence"] for one in log["predictions"]]
    assert [True, False, False] == [one["unknown"] for one in log["predictions"]]
    assert (3, {"cat": 2, "dog": 1}) == (log["count"], log["class_distribution"])
    assert log["average_confidence"] == pytest.approx(sum(answer["confidence"] for answer in answers) / 3, abs=1e-6)
    assert log["average_latency_ms"] == pytest.approx(sum(latencies) / 3)
    assert sorted(latencies)[1] <= log["p95_latency_ms"] <= max(latencies)


def test_the_prediction_log_keeps_the_last_hundred(client, encode):
    """An instance lives for hours; its memory stays as it is."""
    for colour in ("blue", *["red"] * 100):
        post(client, encode(colour))
    log = client.get("/prediction-log").json()
    assert (100, 100, {"cat": 100}) == (log["count"], len(log["predictions"]), log["class_distribution"])


def test_the_prediction_log_tells_no_ids(client, encode):
    """With the id of somebody's prediction anybody could give feedback on it."""
    answer = post(client, encode()).json()
    assert answer["request_id"] not in client.get("/prediction-log").text
