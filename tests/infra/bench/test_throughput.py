"""Test the form that the load generator sends."""

import asyncio

from starlette.requests import Request

from infra.bench.photos import photo
from infra.bench.throughput import BOUNDARY, encode_form
from lambda_app.uploads.photo import read_photo

PHOTO = photo("tiny", 64, 48)


def test_form_contains_the_photo():
    """The function reads the same bytes from the form."""
    body = encode_form(PHOTO, "file")
    headers = [(b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())]

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    request = Request({"type": "http", "method": "POST", "path": "/predict", "headers": headers}, receive)
    assert PHOTO.data == asyncio.run(read_photo(request, 1_000_000))


def test_form_field_has_the_expected_name():
    """LitServe expects the field `request`."""
    assert b'name="request"' in encode_form(PHOTO, "request")
