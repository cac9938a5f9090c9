"""What the load generator sends."""

import asyncio

from starlette.requests import Request

from infra.bench.photos import photo
from infra.bench.throughput import BOUNDARY, multipart
from lambda_app.uploads.photo import read_photo

PHOTO = photo("tiny", 64, 48)


def test_the_form_carries_the_photo():
    """As our own function reads it."""
    body = multipart(PHOTO, "file")
    headers = [(b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())]

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    request = Request({"type": "http", "method": "POST", "path": "/predict", "headers": headers}, receive)
    assert PHOTO.data == asyncio.run(read_photo(request, 1_000_000))


def test_the_field_has_the_name_that_the_server_expects():
    """LitServe calls it after its argument."""
    assert b'name="request"' in multipart(PHOTO, "request")
