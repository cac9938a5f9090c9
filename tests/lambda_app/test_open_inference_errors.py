"""Test invalid requests of the Open Inference Protocol: each has its status and code in the protocol's shape."""

import json

import pytest

from tests.lambda_app.inference_requests import (
    LENGTH,
    NETWORK,
    PHOTOS,
    RECTANGLE,
    assert_protocol_error,
    base64_of,
    images,
    request,
)
from tests.support.uploads import assert_error

GOOD = json.dumps({"inputs": [images("red")]}).encode()


def changed(**more):
    return json.dumps({"inputs": [images("red") | more]}).encode()


def asked(*outputs):
    return json.dumps({"inputs": [images("red")], "outputs": outputs}).encode()


def case(name, status, code, message, content, **headers):
    return pytest.param(status, code, message, content, headers, id=name)


BAD = [
    case("nothing", 422, "bad_field", "the JSON: EOF while parsing", b""),
    case("a number too many", 422, "bad_field", "data are 3073 numbers; expected 3072", changed(data=[0] * 3073)),
    case("a number too high", 422, "bad_field", "expected numbers from 0 to 255", changed(data=[256] * 3072)),
    case("no number", 422, "bad_field", "expected numbers from 0 to 255", changed(data=[float("nan")] * 3072)),
    case("a fraction", 422, "bad_field", "expected numbers from 0 to 255", changed(data=[0.5] * 3072)),
    case("ragged", 422, "bad_field", "expected numbers from 0 to 255", changed(data=[[1], 2])),
    case("no data", 422, "bad_field", "neither data nor binary_data_size", changed(data=[]).replace(b'"data"', b'"x"')),
    case("another datatype", 422, "bad_field", "expected 'images' of 'UINT8'", changed(datatype="FP32")),
    case("another name", 422, "bad_field", "'image' of 'UINT8'; expected 'images'", changed(name="image")),
    case(
        "another side", 422, "bad_field", "expected ['N', 3, 32, 32] with N from 1 to 16", changed(shape=[1, 3, 9, 9])
    ),
    case("too many", 422, "bad_field", "[17, 3, 32, 32]; expected ['N', 3, 32, 32]", changed(shape=[17, 3, 32, 32])),
    case("far too many", 422, "bad_field", "with N from 1 to 16", changed(shape=[10**400, 3, 32, 32])),
    case("a negative length", 422, "bad_field", "inputs.0.shape.0", changed(shape=[-1, 3, 32, 32])),
    case("no length", 422, "bad_field", "inputs.0.shape", changed(shape=[])),
    case("a length that is true", 422, "bad_field", "inputs.0.shape.0", changed(shape=[True, 3, 32, 32])),
    case("two inputs", 422, "bad_field", "inputs", json.dumps({"inputs": [images("red")] * 2}).encode()),
    case("no inputs", 422, "bad_field", "inputs: Field required", b"{}"),
    case("no object", 422, "bad_field", "valid dictionary", b"[]"),
    case("a list beside values", 422, "bad_field", "lists and values side by side", changed(data=[[[1]], "12"])),
    case("deep", 422, "bad_field", "recursion limit", b"[" * 3072),
    case("too many lists", 422, "bad_field", "3073 opening brackets; expected at most 3072", b"[" * 3073),
    case("too many objects", 422, "bad_field", "3074 opening brackets", json.dumps([{}] * 3073).encode()),
    case("no UTF-8", 422, "bad_field", "the JSON: ", b'{"id": "\xff"}'),
    case("half a surrogate", 422, "bad_field", "the JSON: ", b'{"id": "\\ud800"}'),
    case("an unknown output", 422, "bad_field", "the output 'x' is unknown or requested twice", asked({"name": "x"})),
    case(
        "an output twice",
        422,
        "bad_field",
        "unknown or requested twice",
        asked({"name": "unknown"}, {"name": "unknown"}),
    ),
    case("no class", 422, "bad_field", "unknown", asked({"name": "unknown", "parameters": {"classification": 1}})),
    case("no map", 422, "bad_field", RECTANGLE, asked({"name": RECTANGLE, "parameters": {"classification": 1}})),
    case("a length too long", 400, "bad_request", "expected a number up to", GOOD, **{LENGTH: str(len(GOOD) + 1)}),
    case("a negative length of JSON", 400, "bad_request", "is '-1'", GOOD, **{LENGTH: "-1"}),
    case("5,000 digits", 400, "bad_request", "is '999", GOOD, **{LENGTH: "9" * 5000}),
    case("bytes without a tensor", 400, "bad_request", "is 0; 1 bytes follow", GOOD + b"x", **{LENGTH: str(len(GOOD))}),
    case("bytes that lack", 400, "bad_request", "0 bytes follow", changed(parameters={"binary_data_size": 3072})),
    case("too many bytes", 413, "too_large", "or more; at most 198869", bytes(200_000)),
]


@pytest.mark.parametrize(("status", "code", "message", "content", "headers"), BAD)
def test_bad_input_has_a_specific_error(client, status, code, message, content, headers):
    """The error has the protocol's shape and names the problem."""
    assert_protocol_error(client.post(f"{NETWORK}/infer", content=content, headers=headers), status, code, message)


@pytest.mark.parametrize(
    ("more", "status", "code", "message"),
    [
        ({"data": ["no base64!"]}, 422, "bad_field", "expected strings of base64"),
        ({"data": [7]}, 422, "bad_field", "expected strings of base64"),
        ({"data": []}, 422, "bad_field", "0 strings; expected 1"),
        ({"shape": [2], "data": [[""], "A"]}, 422, "bad_field", "lists and values side by side"),
        ({"data": base64_of(b"text")}, 415, "unsupported_image", "photo 1 of 1: the file is not a supported image"),
        ({"data": base64_of(b"")}, 400, "no_file", "photo 1 of 1: the photo is empty"),
        ({"data": base64_of(bytes(100_001))}, 413, "too_large", "100001 bytes of photos; at most 100000"),
    ],
)
def test_invalid_photo_has_the_error_of_the_native_route(client, more, status, code, message):
    """Invalid data has a specific error; an invalid photo has the status and code of `POST /predict`."""
    assert_protocol_error(
        client.post(f"{PHOTOS}/infer", json=request(b"") | {"inputs": [request(b"")["inputs"][0] | more]}),
        status,
        code,
        message,
    )


def binary(data, count):
    """Return a request for `count` photos with these bytes as its binary tensor."""
    tensor = {"name": "photos", "datatype": "BYTES", "shape": [count], "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return {"content": head + data, "headers": {LENGTH: str(len(head))}}


@pytest.mark.parametrize("data", [b"\1\0\0", b"\2\0\0\0x", b"\1\0\0\0xy", b"\xff\xff\xff\xff"])
def test_binary_strings_must_match_their_lengths(client, data):
    """A truncated, too long or too short tensor is 422."""
    assert_protocol_error(client.post(f"{PHOTOS}/infer", **binary(data, 1)), 422, "bad_field", "each after its length")


def test_bad_photo_fails_the_whole_request(logged, encode):
    """The error names the photo, and no prediction is counted, because the protocol has no partial results."""
    answer = logged.client.post(f"{PHOTOS}/infer", json=request(encode(), b"text"))
    assert_protocol_error(answer, 415, "unsupported_image", "photo 2 of 2: the file is not a supported image")
    [line, metrics] = logged.lines()
    assert ("request", "unsupported_image", 415) == (line["message"], line["error_code"], line["status"])
    assert (2, {"unsupported_image": 1}) == (line["photos"], line["failed"])
    assert "Predictions" not in metrics


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v2/nowhere", 404, "not_found"),
        ("GET", "/v2/models/cats", 404, "not_found"),
        ("GET", f"{PHOTOS}/config", 404, "not_found"),
        ("POST", f"{PHOTOS}/versions/1/infer", 404, "not_found"),
        ("POST", "/v2", 405, "method_not_allowed"),
    ],
)
def test_every_error_under_v2_has_the_protocol_shape(client, method, path, status, code):
    """Errors of routing have the protocol's shape, too."""
    assert_protocol_error(client.request(method, path), status, code, "expected")


@pytest.mark.parametrize("version", ["", "/versions/2026.01.01-tiny"])
def test_wrong_method_has_allow(client, version):
    """The response lists the methods of the path."""
    answer = client.get(f"{PHOTOS}{version}/infer")
    assert_protocol_error(answer, 405, "method_not_allowed", "expected one of")
    assert "POST" == answer.headers["allow"]


def test_errors_outside_v2_have_the_native_shape(client):
    """A path that only starts like `/v2` has errors of the native shape."""
    assert_error(client.get("/v22"), 404, "not_found")


def test_internal_error_has_the_protocol_shape(logged, encode, monkeypatch):
    """An unexpected error has the protocol's shape, and its stack trace is logged."""
    monkeypatch.setattr("lambda_app.inference.read_header", None)
    answer = logged.client.post(f"{PHOTOS}/infer", json=request(encode()))
    assert_protocol_error(answer, 500, "internal_error", "could not be answered")
    assert ["unexpected error", "request"] == [line["message"] for line in logged.lines() if "message" in line]
