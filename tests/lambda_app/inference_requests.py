"""Build requests of the Open Inference Protocol, and check their responses."""

import base64

import numpy as np

PHOTOS, NETWORK = "/v2/models/pet-classifier", "/v2/models/pet-classifier-network"
LENGTH = "inference-header-content-length"
RECTANGLE = "activation_map_rectangle"
COLORS = {"red": (255, 0, 0), "blue": (0, 0, 255), "gray": (128, 128, 128)}


def base64_of(*photos):
    return [base64.b64encode(photo).decode() for photo in photos]


def request(*photos, shape=None, **more):
    """Return the JSON of an inference request."""
    tensor = {"name": "photos", "datatype": "BYTES", "shape": shape or [len(photos)], "data": base64_of(*photos)}
    return {"inputs": [tensor | more]}


def images(*colors, side=32):
    pixels = [np.broadcast_to(np.array(COLORS[color], np.uint8)[:, None, None], (3, side, side)) for color in colors]
    data = np.stack(pixels)
    return {"name": "images", "datatype": "UINT8", "shape": list(data.shape), "data": data.ravel().tolist()}


def infer(client, body, model=PHOTOS):
    """Return the outputs by name."""
    answer = client.post(f"{model}/infer", json=body)
    assert 200 == answer.status_code, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def assert_protocol_error(answer, status, code, message):
    """Check the status, the code and the protocol's shape of errors."""
    body = answer.json()
    assert (status, code) == (answer.status_code, body["code"])
    assert {"error", "code", "request_id"} == set(body)
    assert message in body["error"]
    assert answer.headers["x-request-id"] == body["request_id"]
