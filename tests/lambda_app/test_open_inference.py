"""Test the Open Inference Protocol with the tiny model; tests/infra/test_tritonclient.py uses Triton's client."""

import json

import numpy as np
import pytest

from infra.report.log_reader import read
from lambda_app.signals import SIGNALS
from tests.lambda_app.inference_requests import LENGTH, NETWORK, PHOTOS, RECTANGLE, base64_of, images, infer, request
from tests.support.uploads import post


def test_server_is_live_and_ready(client):
    """The server reports the model's version as its own."""
    assert [{"live": True}, {"ready": True}] == [client.get(f"/v2/health/{what}").json() for what in ("live", "ready")]
    assert "2026.01.01-tiny" == client.get("/v2").json()["version"]


@pytest.mark.parametrize(
    ("model", "expected"), [(PHOTOS, ("photos", "BYTES", [-1])), (NETWORK, ("images", "UINT8", [-1, 3, 32, 32]))]
)
@pytest.mark.parametrize("version", ["", "/versions/2026.01.01-tiny"])
def test_model_metadata_lists_the_tensors(client, encode, model, expected, version):
    """The path may include the version; inference returns the listed outputs, maps only if they are requested."""
    metadata = client.get(f"{model}{version}").json()
    [tensor] = metadata["inputs"]
    assert expected == (tensor["name"], tensor["datatype"], tensor["shape"])
    assert metadata["name"] == client.get(f"{model}{version}/ready").json()["name"]
    given = infer(client, request(encode()) if model == PHOTOS else {"inputs": [images("red")]}, f"{model}{version}")
    assert {output["name"] for output in metadata["outputs"]} - {"activation_map", RECTANGLE} == given.keys()


@pytest.mark.parametrize("nested", [False, True])
def test_photos_have_the_predictions_of_the_native_route(client, encode, nested):
    """Predictions have the order of the photos; a column of photos is a list of photos."""
    photos = [encode(color) for color in ("red", "blue", "gray")]
    natives = [post(client, photo, "image/jpeg").json() for photo in photos]
    body = request(*photos)
    if nested:
        body = request(*photos, shape=[3, 1], data=[[text] for text in base64_of(*photos)])
    outputs = infer(client, body)
    for name in ("predicted_class", "confidence", "unknown"):
        assert [native[name] for native in natives] == outputs[name]
    assert [value for native in natives for value in native["probabilities"].values()] == outputs["probabilities"]
    assert 3 == len(set(outputs["request_id"]))


@pytest.mark.parametrize("nested", [False, True])
def test_network_accepts_more_images_than_one_run(client, tiny_classifier, nested):
    """Images beyond the size of one run keep their order, with all outputs."""
    tensor = images(*["red", "blue", "gray"] * 3)
    pixels = np.array(tensor["data"], np.uint8).reshape(tensor["shape"])
    if nested:
        tensor["data"] = pixels.tolist()
    outputs = infer(client, {"inputs": [tensor]}, NETWORK)
    assert ["cat", "dog", "cat"] * 3 == outputs["predicted_class"]
    assert [False, False, True] * 3 == outputs["unknown"]
    for name, expected in vars(tiny_classifier.run(pixels)).items():
        if name != "activation_map":
            assert expected.ravel().tolist() == outputs[name]


def test_response_has_only_the_requested_outputs(client, encode):
    """Outputs have the order of the request; `classification` returns the highest values as Triton formats them."""
    outputs = [{"name": "probabilities", "parameters": {"classification": 1}}, {"name": "unknown"}]
    answer = client.post(f"{PHOTOS}/infer", json=request(encode("blue")) | {"id": "7", "outputs": outputs}).json()
    assert ("7", "pet-classifier", "2026.01.01-tiny") == (answer["id"], answer["model_name"], answer["model_version"])
    best, unknown = answer["outputs"]
    assert ("probabilities", "BYTES", [1, 1]) == (best["name"], best["datatype"], best["shape"])
    value, *rest = best["data"][0].split(":")
    assert (["1", "dog"], True) == (rest, float(value) > 0.5)
    assert {"name": "unknown", "datatype": "BOOL", "shape": [1], "data": [False]} == unknown


@pytest.mark.parametrize("binary", [False, True])
def test_maps_are_returned_if_requested(client, encode, binary):
    """Each photo has its map and the part of the upright photo that it covers, in JSON and as binary tensors."""
    outputs = [{"name": name, "parameters": {"binary_data": binary}} for name in ("activation_map", RECTANGLE)]
    body = request(encode("red", (64, 32)), encode("blue", (32, 64))) | {"outputs": outputs}
    answer = client.post(f"{PHOTOS}/infer", json=body)
    if binary:
        described = json.loads(answer.content[: int(answer.headers[LENGTH])])["outputs"]
        values = np.frombuffer(answer.content[int(answer.headers[LENGTH]) :], np.float32)
    else:
        described = answer.json()["outputs"]
        values = np.array([value for output in described for value in output["data"]])
    assert [[2, 32, 32], [2, 4]] == [output["shape"] for output in described]
    assert 4 == pytest.approx(values[: 2 * 32 * 32].min(), abs=0.1)  # the color of each photo counts toward its class
    assert [0.25, 0, 0.5, 1, 0, 0.25, 1, 0.5] == values[2 * 32 * 32 :].tolist()


def test_maps_of_images_cover_all_of_them(client):
    """Images that the client has decoded are not cropped."""
    outputs = infer(client, {"inputs": [images("red")], "outputs": [{"name": RECTANGLE}]}, NETWORK)
    assert [0, 0, 1, 1] == outputs[RECTANGLE]


@pytest.mark.parametrize("request_id", [None, "2ab9f3c4-0a52-4a8e-8a2c-0d6c7d1b5a55"])
@pytest.mark.parametrize("binary", [False, True])
def test_request_of_kserve_is_answered(client, photo, request_id, binary):
    """Requests of kserve.InferenceRESTClient work in JSON and in binary, with an id or with null.

    The test writes them itself, because kserve requires older packages than the other tests do. `InferRequest.to_rest`
    also puts `model_name` into the body.
    """
    tensor = {"name": "photos", "shape": [1], "datatype": "BYTES"}
    content = len(photo).to_bytes(4, "little") + photo
    if binary:
        tensor["parameters"] = {"binary_data_size": len(content)}
    else:
        tensor["data"] = base64_of(photo)
    inputs = {"id": request_id, "model_name": "pet-classifier", "inputs": [tensor]}
    text = json.dumps(inputs | {"outputs": [{"name": "predicted_class"}]}).encode()
    headers = {"content-type": "application/json"}
    if binary:
        headers = {"content-type": "application/octet-stream", LENGTH: str(len(text))}
    response = client.post(f"{PHOTOS}/infer", content=text + (content if binary else b""), headers=headers)
    assert (200, request_id) == (response.status_code, response.json().get("id"))
    assert [["cat"]] == [output["data"] for output in response.json()["outputs"]]


def test_parameters_may_be_null(client, encode):
    """Null parameters of the request, of a tensor and of an output are accepted, because clients send them."""
    fields = {"outputs": [{"name": "unknown", "parameters": None}], "parameters": None}
    assert {"unknown": [False]} == infer(client, request(encode(), parameters=None) | fields)


def test_documented_example_is_answered(client):
    """The example request of the OpenAPI document gives the fields of its example response."""
    operation = client.get("/openapi.json").json()["paths"]["/v2/models/{name}/infer"]["post"]
    documented = [operation["requestBody"], operation["responses"]["200"]]
    [[body], [answer]] = [each["content"]["application/json"]["schema"]["examples"] for each in documented]
    given = client.post(f"{PHOTOS}/infer", json=body).json()
    described = [{"name": "predicted_class", "datatype": "BYTES", "shape": [1]}]
    for each in (answer, given):
        assert described == [{name: output[name] for name in described[0]} for output in each["outputs"]]
    assert given.keys() == answer.keys()


def test_request_headers_are_documented(client):
    """Generated clients need the headers of binary and of compressed requests."""
    operation = client.get("/openapi.json").json()["paths"]["/v2/models/{name}/infer"]["post"]
    headers = [each["name"].lower() for each in operation["parameters"] if each["in"] == "header"]
    assert [LENGTH, "content-encoding"] == headers


def test_each_image_is_logged_and_counted(logged):
    """Each image has a log line with the response's id and the signals that the report reads."""
    outputs = infer(logged.client, {"inputs": [images("red", "blue")]}, NETWORK)
    lines = logged.lines()
    predictions = [line for line in lines if line.get("message") == "prediction"]
    assert [outputs["request_id"], ["cat", "dog"]] == [
        [line[name] for line in predictions] for name in ("request_id", "predicted_class")
    ]
    [line] = [line for line in lines if line.get("message") == "request"]
    assert (2, {line["request_id"]}) == (line["photos"], {prediction["batch_id"] for prediction in predictions})
    assert {*SIGNALS, "inference_ms"} <= predictions[0].keys()
    assert set() == {name for name in predictions[0] if name.startswith(("photo_", "decode"))}
    assert 2.0 == sum(sum(metrics.get("Predictions", [])) for metrics in lines)
    assert {"request": 1, "prediction": 2, "metrics": 2} == read(map(json.dumps, lines)).counts
