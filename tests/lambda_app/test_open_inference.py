"""Test the Open Inference Protocol with the tiny model; tests/infra/test_tritonclient.py uses Triton's client."""

import base64
import gzip
import json
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from infra.emulator.serve import background
from infra.report.log_reader import read
from lambda_app.app import create_app
from lambda_app.errors import BadField
from lambda_app.settings import Settings
from lambda_app.signals import SIGNALS

PHOTOS, NETWORK = "/v2/models/pet-classifier", "/v2/models/pet-classifier-network"
LENGTH = "inference-header-content-length"
RECTANGLE = "activation_map_rectangle"
MINUTES = 600  # a timeout that no test waits for
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255), "grey": (128, 128, 128)}


def base64_of(*photos):
    return [base64.b64encode(photo).decode() for photo in photos]


def request(*photos, shape=None, **more):
    """Return the JSON of an inference request."""
    tensor = {"name": "photos", "datatype": "BYTES", "shape": shape or [len(photos)], "data": base64_of(*photos)}
    return {"inputs": [tensor | more]}


def images(*colours, side=32):
    pixels = [
        np.broadcast_to(np.array(COLOURS[colour], np.uint8)[:, None, None], (3, side, side)) for colour in colours
    ]
    data = np.stack(pixels)
    return {"name": "images", "datatype": "UINT8", "shape": list(data.shape), "data": data.ravel().tolist()}


def infer(client, body, model=PHOTOS):
    """Return the outputs by name."""
    answer = client.post(f"{model}/infer", json=body)
    assert 200 == answer.status_code, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def assert_error(answer, status, code, message):
    """Check the status, the code and the protocol's shape of errors."""
    body = answer.json()
    assert (status, code) == (answer.status_code, body["code"])
    assert {"error", "code", "request_id"} == set(body)
    assert message in body["error"]
    assert answer.headers["x-request-id"] == body["request_id"]


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
    photos = [encode(colour) for colour in ("red", "blue", "grey")]
    natives = [
        client.post("/predict", content=photo, headers={"content-type": "image/jpeg"}).json() for photo in photos
    ]
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
    tensor = images(*["red", "blue", "grey"] * 3)
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
    wanted = [{"name": name, "parameters": {"binary_data": binary}} for name in ("activation_map", RECTANGLE)]
    body = request(encode("red", (64, 32)), encode("blue", (32, 64))) | {"outputs": wanted}
    answer = client.post(f"{PHOTOS}/infer", json=body)
    if binary:
        described = json.loads(answer.content[: int(answer.headers[LENGTH])])["outputs"]
        values = np.frombuffer(answer.content[int(answer.headers[LENGTH]) :], np.float32)
    else:
        described = answer.json()["outputs"]
        values = np.array([value for output in described for value in output["data"]])
    assert [[2, 32, 32], [2, 4]] == [output["shape"] for output in described]
    assert 4 == pytest.approx(values[: 2 * 32 * 32].min(), abs=0.1)  # the color of each photo speaks for its class
    assert [0.25, 0, 0.5, 1, 0, 0.25, 1, 0.5] == values[2 * 32 * 32 :].tolist()


def test_maps_of_images_cover_all_of_them(client):
    """Images that the client has decoded are not cropped."""
    outputs = infer(client, {"inputs": [images("red")], "outputs": [{"name": RECTANGLE}]}, NETWORK)
    assert [0, 0, 1, 1] == outputs[RECTANGLE]


PACKED = [("gzip", gzip.compress), ("deflate", zlib.compress), ("GZip", gzip.compress), ("identity", bytes)]


@pytest.mark.parametrize(("encoding", "packed"), PACKED)
def test_compressed_request_is_accepted(client, encode, encoding, packed):
    """`Content-Encoding` is case-insensitive and may be `identity`."""
    content = packed(json.dumps(request(encode())).encode())
    answer = client.post(f"{PHOTOS}/infer", content=content, headers={"content-encoding": encoding})
    assert 200 == answer.status_code


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


BOMB = gzip.compress(bytes(10_000_000))
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
    case("an unknown output", 422, "bad_field", "the output 'x' is asked for", asked({"name": "x"})),
    case("an output twice", 422, "bad_field", "each once", asked({"name": "unknown"}, {"name": "unknown"})),
    case("no class", 422, "bad_field", "unknown", asked({"name": "unknown", "parameters": {"classification": 1}})),
    case("no map", 422, "bad_field", RECTANGLE, asked({"name": RECTANGLE, "parameters": {"classification": 1}})),
    case("a length too long", 400, "bad_request", "expected a number up to", GOOD, **{LENGTH: str(len(GOOD) + 1)}),
    case("a negative length of JSON", 400, "bad_request", "is '-1'", GOOD, **{LENGTH: "-1"}),
    case("5,000 digits", 400, "bad_request", "is '999", GOOD, **{LENGTH: "9" * 5000}),
    case("bytes without a tensor", 400, "bad_request", "is 0; 1 bytes follow", GOOD + b"x", **{LENGTH: str(len(GOOD))}),
    case("bytes that lack", 400, "bad_request", "0 bytes follow", changed(parameters={"binary_data_size": 3072})),
    case(
        "another encoding",
        415,
        "unsupported_media_type",
        "is 'br'; expected one of gzip",
        GOOD,
        **{"content-encoding": "br"},
    ),
    case("no gzip", 400, "bad_request", "expected a body in gzip", GOOD, **{"content-encoding": "gzip"}),
    case("cut gzip", 400, "bad_request", "is truncated", gzip.compress(GOOD)[:-9], **{"content-encoding": "gzip"}),
    case("gzip and more", 400, "bad_request", "follows", gzip.compress(GOOD) + b"x", **{"content-encoding": "gzip"}),
    case("bomb", 413, "too_large", "or more; at most 198869", BOMB, **{"content-encoding": "gzip"}),
    case("too many bytes", 413, "too_large", "or more; at most 198869", bytes(200_000)),
]


@pytest.mark.parametrize(("status", "code", "message", "content", "headers"), BAD)
def test_bad_input_has_a_specific_error(client, status, code, message, content, headers):
    """The error has the protocol's shape and names the problem."""
    assert_error(client.post(f"{NETWORK}/infer", content=content, headers=headers), status, code, message)


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
    assert_error(
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
    assert_error(client.post(f"{PHOTOS}/infer", **binary(data, 1)), 422, "bad_field", "each after its length")


def test_bad_photo_fails_the_whole_request(logged, encode):
    """The error names the photo, and no prediction is counted, because the protocol has no partial results."""
    answer = logged.client.post(f"{PHOTOS}/infer", json=request(encode(), b"text"))
    assert_error(answer, 415, "unsupported_image", "photo 2 of 2: the file is not a supported image")
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
    assert_error(client.request(method, path), status, code, "expected")


@pytest.mark.parametrize("version", ["", "/versions/2026.01.01-tiny"])
def test_wrong_method_has_allow(client, version):
    """The response lists the methods of the path."""
    answer = client.get(f"{PHOTOS}{version}/infer")
    assert_error(answer, 405, "method_not_allowed", "expected one of")
    assert "POST" == answer.headers["allow"]


@pytest.mark.parametrize("announced", ["198870", "9" * 5000])
def test_announced_length_over_the_limit_is_refused_unread(client, announced):
    """A client that announces a large body and sends little does not hold memory."""

    def never():
        raise AssertionError("the body was read")
        yield b""

    answer = client.post(f"{PHOTOS}/infer", content=never(), headers={"content-length": announced})
    assert_error(answer, 413, "too_large", "at most 198869")


def packed(start, filling, end):
    """Return six megabytes of JSON as six kilobytes of gzip."""
    head = b'{"inputs":[{"name":"images","datatype":"UINT8","shape":[1,3,32,32],"data":[' + start
    return gzip.compress(head + filling * ((6_000_000 - len(head)) // len(filling)) + end + b"]}]}")


@pytest.mark.parametrize(
    ("content", "work", "message"),
    [
        pytest.param(packed(b"", b"[],", b"[]"), "from_json", "opening brackets; expected at most", id="lists"),
        pytest.param(
            packed(b"[" * 190 + b"]" * 190 + b',"', b"a", b'"'),
            "chain.from_iterable",
            "lists and values side by side",
            id="a string that would come apart",
        ),
    ],
)
def test_highly_compressed_request_is_refused_before_parsing(long_lived_client, monkeypatch, content, work, message):
    """Parsing the lists or splitting the string would block all other threads for a second."""

    def done(_):
        raise AssertionError(f"{work} was called")

    modules = {"from_json": done, "chain.from_iterable": SimpleNamespace(from_iterable=done)}
    monkeypatch.setattr(f"lambda_app.routes.open_inference.tensors.{work.split('.')[0]}", modules[work])
    answer = long_lived_client.post(f"{NETWORK}/infer", content=content, headers={"content-encoding": "gzip"})
    assert_error(answer, 422, "bad_field", message)


@pytest.mark.parametrize("model", [PHOTOS, NETWORK])
def test_reading_a_request_does_not_block_others(tiny_classifier, monkeypatch, model):
    """Behind a real uvicorn, health checks are answered while a request is parsed."""
    reading, answered = threading.Event(), threading.Event()

    def read(*_):
        reading.set()
        assert answered.wait(MINUTES)
        raise BadField("read")

    monkeypatch.setattr("lambda_app.routes.open_inference.models.read_inference", read)
    with (
        background(create_app(tiny_classifier, Settings(log_level="ERROR"))) as url,
        httpx2.Client(base_url=url, trust_env=False, timeout=MINUTES) as client,
        ThreadPoolExecutor() as threads,
    ):
        slow = threads.submit(client.post, f"{model}/infer", content=b"{}")
        assert reading.wait(MINUTES)
        assert 200 == client.get("/health").status_code
        answered.set()
        assert (422, "read") == (slow.result().status_code, slow.result().json()["error"])


def test_errors_outside_v2_have_the_native_shape(client):
    """A path that only starts like `/v2` has errors of the native shape."""
    assert "not_found" == client.get("/v22").json()["error"]["code"]


def test_internal_error_has_the_protocol_shape(logged, encode, monkeypatch):
    """An unexpected error has the protocol's shape, and its stack trace is logged."""

    def explode(*_):
        raise RuntimeError

    monkeypatch.setattr("lambda_app.inference.read_header", explode)
    answer = logged.client.post(f"{PHOTOS}/infer", json=request(encode()))
    assert_error(answer, 500, "internal_error", "could not be answered")
    assert ["unexpected error", "request"] == [line["message"] for line in logged.lines() if "message" in line]


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


@pytest.fixture(scope="module")
def long_lived_client(tiny_classifier):
    with TestClient(create_app(tiny_classifier, Settings(log_level="ERROR"))) as client:
        yield client


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PARAMETERS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("binary_data_size", "binary_data", "classification", "shared_memory_region"), JSON)
)
TENSOR = st.fixed_dictionaries(
    {"name": st.sampled_from(["photos", "images"]) | JSON},
    optional={
        "datatype": st.sampled_from(["BYTES", "UINT8", "FP32"]) | JSON,
        "shape": st.lists(st.sampled_from([1, 2, 3, 32]), max_size=5) | JSON,
        "data": st.lists(st.sampled_from(["", "AAAA", 1]) | JSON, max_size=4) | JSON,
        "parameters": PARAMETERS | JSON,
    },
)
REQUEST = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=2) | JSON}, optional={"outputs": st.lists(TENSOR, max_size=2), "id": JSON}
)


@pytest.mark.slow
@given(REQUEST | JSON, st.binary(max_size=20), st.none() | st.integers(-3, 3), st.sampled_from([PHOTOS, NETWORK]))
@settings(max_examples=300)
def test_arbitrary_requests_give_no_server_error(long_lived_client, body, behind, off, model):
    """Any JSON, followed by any bytes, with any header length, gives 200 or 4xx."""
    head = json.dumps(body).encode()
    headers = {} if off is None else {LENGTH: str(len(head) + off)}
    answer = long_lived_client.post(f"{model}/infer", content=head + behind, headers=headers)
    assert answer.status_code < 500
    assert answer.status_code == 200 or isinstance(answer.json()["error"], str)
