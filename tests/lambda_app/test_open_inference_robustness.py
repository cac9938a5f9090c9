"""Check that large, costly and arbitrary requests of the Open Inference Protocol neither block nor break the server."""

import gzip
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.emulator.serve import background
from lambda_app.app import create_app
from lambda_app.errors import BadField
from lambda_app.settings import Settings
from tests.lambda_app.inference_requests import LENGTH, NETWORK, PHOTOS, assert_protocol_error
from tests.support.uploads import unread_body
from tests.support.waiting import DEADLINE_S


@pytest.mark.parametrize("announced", ["198870", "9" * 5000])
def test_announced_length_over_the_limit_is_refused_unread(client, announced):
    """A client that announces a large body and sends little does not hold memory."""
    answer = client.post(f"{PHOTOS}/infer", content=unread_body(), headers={"content-length": announced})
    assert_protocol_error(answer, 413, "too_large", "at most 198869")


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
    assert_protocol_error(answer, 422, "bad_field", message)


@pytest.mark.parametrize("model", [PHOTOS, NETWORK])
def test_reading_a_request_does_not_block_others(tiny_classifier, monkeypatch, model):
    """Behind a real uvicorn, health checks are answered while a request is parsed."""
    reading, answered = threading.Event(), threading.Event()

    def read(*_):
        reading.set()
        assert answered.wait(DEADLINE_S)
        raise BadField("read")

    monkeypatch.setattr("lambda_app.routes.open_inference.models.read_inference", read)
    with (
        background(create_app(tiny_classifier, Settings(log_level="ERROR"))) as url,
        httpx2.Client(base_url=url, trust_env=False, timeout=DEADLINE_S) as client,
        ThreadPoolExecutor() as threads,
    ):
        slow = threads.submit(client.post, f"{model}/infer", content=b"{}")
        assert reading.wait(DEADLINE_S)
        assert 200 == client.get("/health").status_code
        answered.set()
        assert (422, "read") == (slow.result().status_code, slow.result().json()["error"])


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
