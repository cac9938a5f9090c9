"""Check compressed bodies on every route that takes a body."""

import asyncio
import base64
import gzip
import json
import tracemalloc
import zlib

import pytest
from starlette.requests import Request

from lambda_app.uploads.encodings import PIECE
from lambda_app.uploads.reader import read_body
from tests.lambda_app.inference_requests import PHOTOS, request
from tests.support.uploads import FORM, NAMED, form, post


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


ENCODINGS = [
    ("gzip", gzip.compress),
    ("GZIP", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("identity", bytes),
    ("", bytes),
    ("identity, gzip", gzip.compress),
]


@pytest.mark.parametrize(("encoding", "compress"), ENCODINGS)
def test_compressed_body_is_read(client, encode, encoding, compress):
    """A photo, a form, JSON, feedback and a request of the Open Inference Protocol may be compressed."""
    headers = {"content-encoding": encoding}
    photo = encode("red")
    assert 200 == post(client, compress(photo), "image/jpeg", **headers).status_code
    assert 200 == post(client, compress(form(photo, NAMED)), **headers).status_code
    assert 200 == post(client, compress(form(photo, NAMED)), path="/predict/batch", **headers).status_code
    response = post(
        client,
        compress(json.dumps({"image": base64.b64encode(photo).decode()}).encode()),
        "application/json",
        **headers,
    )
    feedback = {"request_id": response.json()["request_id"], "label": "cat"}
    body = compress(json.dumps(feedback).encode())
    assert 200 == post(client, body, "application/json", "/feedback", **headers).status_code
    inference = compress(json.dumps(request(photo)).encode())
    assert 200 == post(client, inference, "application/json", f"{PHOTOS}/infer", **headers).status_code


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress, raw_deflate])
def test_compressed_body_may_arrive_byte_by_byte(client, encode, compress):
    """The reader detects the kind of deflate even if the first chunk has one byte."""
    encoding = "gzip" if compress is gzip.compress else "deflate"
    chunks = (bytes([byte]) for byte in compress(encode("red")))
    assert "cat" == post(client, chunks, "image/jpeg", **{"content-encoding": encoding}).json()["predicted_class"]


@pytest.mark.parametrize("compress", [zlib.compress, raw_deflate])
@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, PIECE + 100, PIECE + 257, 3 * PIECE + 1])
def test_output_that_zlib_buffers_is_read(compress, size):
    """zlib may still hold output after it has consumed all input."""

    async def receive():
        return {"type": "http.request", "body": compress(bytes(size)), "more_body": False}

    request = Request({"type": "http", "headers": [(b"content-encoding", b"deflate")]}, receive)
    assert bytes(size) == asyncio.run(read_body(request, 1_000_000))


PATHS = ["/predict", "/predict/batch", "/feedback", f"{PHOTOS}/infer"]


def message_of(response) -> str:
    error = response.json()["error"]
    return error if isinstance(error, str) else error["message"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip, br"])
def test_other_content_encoding_is_rejected(client, path, encoding):
    """The error is 415 and lists the accepted encodings."""
    content_type = "application/json" if path == "/feedback" else FORM
    response = post(client, b"x", content_type, path, **{"content-encoding": encoding})
    assert 415 == response.status_code
    assert f"the content encoding is {encoding!r}; expected one of gzip, deflate, identity" in message_of(response)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is truncated"),
        (b"\x1f", "is truncated"),
        (gzip.compress(bytes(100))[:-9], "is truncated"),
        (gzip.compress(bytes(100)) + b"x", "data follows the gzip stream"),
        (b"no gzip", "expected a body in gzip"),
    ],
    # gzip stores the time, so ids made of the bytes would differ between pytest-xdist's workers.
    ids=["empty", "first byte", "truncated", "trailer", "other"],
)
def test_body_that_contradicts_its_encoding_is_rejected(client, path, body, message):
    """The error is 400 and states the problem."""
    content_type = "application/json" if path == "/feedback" else FORM
    response = post(client, body, content_type, path, **{"content-encoding": "gzip"})
    assert 400 == response.status_code
    assert message in message_of(response)


@pytest.mark.parametrize("path", PATHS)
def test_gzip_bomb_is_rejected_in_little_memory(client, path):
    """The response to 60 MB of zeros in 60 kB is 413, and reading it takes under 10 MB."""
    compressor = zlib.compressobj(9, wbits=31)
    bomb = b"".join(compressor.compress(bytes(1_000_000)) for _ in range(60)) + compressor.flush()
    assert len(bomb) < 100_000
    content_type = "application/json" if path == "/feedback" else FORM
    tracemalloc.start()
    try:
        response = post(client, iter([bomb]), content_type, path, **{"content-encoding": "gzip"})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 413 == response.status_code
    assert peak < 10_000_000
