"""Check photos sent as a raw body, as a data URL and in JSON. The tiny model classifies red as cat, blue as dog."""

import base64
import json
import re
from urllib.parse import quote

import pytest

from tests.support.uploads import COMMANDS, assert_error, post


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/octet-stream",
        "binary/octet-stream",
        "application/x-www-form-urlencoded",
        "text/plain; charset=utf-8",
        "application/json",
        "IMAGE/PNG; name=x",
        "nonsense",
    ],
)
def test_photo_is_recognized_under_any_content_type(client, encode, content_type):
    """The content types include the defaults of curl, fetch and S3, and wrong ones."""
    assert "dog" == post(client, encode("blue"), content_type).json()["predicted_class"]


@pytest.mark.parametrize("content_type", [None, "application/octet-stream", "text/plain", "application/json"])
def test_body_that_is_not_an_image_is_unsupported(client, content_type):
    """The error message shows how to send a photo as a form and as a raw body."""
    assert_error(post(client, b"no photo", content_type), 415, "unsupported_image", *COMMANDS)


def test_body_over_the_limit_is_too_large(client):
    """The limit on photos also applies to a body of another content type."""
    assert_error(post(client, bytes(100_001), "application/octet-stream"), 413, "too_large", "at most 100000")


def data_url(data: bytes, kind: str = "data:image/png;base64,") -> str:
    return kind + base64.b64encode(data).decode()


def lines(data: bytes) -> str:
    return base64.encodebytes(data).decode()


VARIANTS = {
    "base64": lambda data: base64.b64encode(data).decode(),
    "base64url": lambda data: base64.urlsafe_b64encode(data).decode(),
    "without padding": lambda data: base64.b64encode(data).decode().rstrip("="),
    "in lines": lines,
    "data URL": data_url,
    "data URL in lines": lambda data: f"data:image/jpeg;base64,{lines(data)}",
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(64, 48), (65, 48), (66, 48), (67, 50)])
def test_json_with_base64_is_read(client, encode, variant, size):
    """The field `image` may hold any variant of base64, and other fields are ignored."""
    body = {"id": 7, "image": VARIANTS[variant](encode("red", size)), "tags": ["a", "b"]}
    assert "cat" == client.post("/predict", json=body).json()["predicted_class"]


def test_json_may_contain_raw_line_breaks(client, encode):
    """A shell puts the line breaks of `"$(base64 cat.jpg)"` into the string."""
    body = '{\n\t"image": "' + lines(encode("red")) + '"\r\n}'
    assert "cat" == post(client, body, "application/json").json()["predicted_class"]


@pytest.mark.parametrize("content_type", [None, "text/plain;charset=UTF-8", "image/jpeg"])
@pytest.mark.parametrize("kind", ["data:image/jpeg;base64,", "DATA:;BASE64,", "data:image/png;name=a.png;base64,"])
def test_data_url_is_read(client, encode, content_type, kind):
    """Browsers create data URLs with canvas.toDataURL() and FileReader."""
    assert "cat" == post(client, data_url(encode("red"), kind), content_type).json()["predicted_class"]


def test_escaped_plus_and_equals_signs_in_a_data_url_are_read(client, encode):
    """RFC 2397 allows %2B for a plus sign."""
    body = data_url(encode("red")).replace("+", "%2B").replace("=", "%3D")
    assert "cat" == post(client, body, "text/plain").json()["predicted_class"]


def test_json_is_read_under_any_content_type(client, encode):
    """JSON is recognized by its first byte, even after a byte order mark."""
    body = b"\xef\xbb\xbf" + json.dumps({"image": data_url(encode("red"))}).encode()
    assert "cat" == post(client, body, "text/plain").json()["predicted_class"]


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        (b"{}", 422, "bad_field", "no field 'image' (its fields: none)"),
        (b'{"photo": "x", "a": 1}', 422, "bad_field", "no field 'image' (its fields: photo, a)"),
        (b'{"image": 7}', 422, "bad_field", "the JSON's field 'image' is int"),
        (b'{"image": ', 422, "bad_field", "the JSON cannot be read"),
        (b'{"image": "%s"}' % b"ab!d", 400, "bad_request", "base64 cannot be decoded"),
        (b'{"image": "abcde"}', 400, "bad_request", "base64 cannot be decoded"),
        (b'{"image": "ab=c"}', 400, "bad_request", "base64 cannot be decoded"),
        ('{"image": "é"}'.encode(), 400, "bad_request", "base64 cannot be decoded"),
        (b'{"image": ""}', 400, "no_file", "empty"),
        (b'{"image": "data:image/png,abcd"}', 400, "bad_request", "expected data:image/jpeg;base64,"),
        (b'{"image": [' + b"[]," * 5_000 + b"[]]}", 422, "bad_field", "over 1000 values"),
    ],
)
def test_json_without_a_photo_is_rejected(client, body, status, code, message):
    """The error message states the problem and shows how to send a photo."""
    expected = [*COMMANDS, '{"image": "<base64>"}'] if "bad_field" == code or "decoded" in message else []
    assert_error(post(client, body, "application/json"), status, code, message, *expected)


def test_limit_applies_to_decoded_base64(client, encode):
    """A photo of 90 kB in 120 kB of base64 is within the limit of 100 kB; one of 101 kB is not."""
    photo = encode("red") + bytes(90_000)
    assert len(photo) < 100_000
    assert "cat" == client.post("/predict", json={"image": lines(photo)}).json()["predicted_class"]
    assert_error(client.post("/predict", json={"image": lines(bytes(101_000))}), 413, "too_large", "at most 100000")


def test_data_url_of_escapes_alone_is_rejected_undecoded(client):
    """Decoding six million escapes would take a gigabyte."""
    assert_error(
        post(client, b"data:;base64," + b"%" * 50_000, "text/plain"),
        400,
        "bad_request",
        "over 10 % of the data URL are escapes",
    )


@pytest.mark.parametrize("is_lowercase", [False, True])
def test_data_url_with_escaped_base64_is_read(client, encode, is_lowercase):
    """The base64 is escaped as in a form or a URL, in upper or lower case."""
    text = quote(data_url(encode("red", image_format="PNG")), safe=":;,")
    escaped = re.sub("%..", lambda match: match[0].lower(), text) if is_lowercase else text
    assert "cat" == post(client, escaped.encode(), "text/plain").json()["predicted_class"]
