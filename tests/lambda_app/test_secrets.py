"""Check that the output contains nothing that a client sent: the tests put a secret into every part of a request."""

import json
import logging
import subprocess
import sys
import traceback

import httpx2
import pytest
from PIL import Image, PngImagePlugin
from starlette.responses import StreamingResponse

from lambda_app.settings import Settings
from lambda_app.telemetry.middleware import BrokenResponse
from tests.support import ROOT
from tests.support.drawing import encode_image
from tests.support.routes import ROUTES
from tests.support.waiting import DEADLINE_S, wait_for_output

SECRET = "s3cret"
HEADERS = {
    "x-secret": f"{SECRET}-header",
    "user-agent": f"{SECRET}-agent",
    "referer": f"https://{SECRET}-referer/",
    "authorization": f"Bearer {SECRET}-token",
    "x-forwarded-for": f"{SECRET}-address",
    "x-request-id": f"{SECRET}-id",
    "x-amzn-trace-id": f"{SECRET}-trace",
    "cookie": f"c={SECRET}-cookie",
}
PATHS = [
    *(tuple(route.split()) for route in ROUTES),
    ("GET", "/"),
    ("POST", f"/{SECRET}-path"),
    (f"{SECRET}", "/predict"),
]


def photo(image_format: str) -> bytes:
    """Return a photo with a secret in every text field of the format."""
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x010E] = exif[0x9286] = f"{SECRET}-exif"  # ImageDescription, UserComment
    text.add_text("Comment", f"{SECRET}-text")
    options = {"JPEG": {"comment": f"{SECRET}-comment"}, "PNG": {"pnginfo": text}}.get(image_format, {})
    return encode_image(Image.new("RGB", (64, 48), "red"), image_format, exif=exif, **options)


def bodies() -> list[dict]:
    """Return the arguments of requests: complete and truncated photos, valid and invalid forms and JSON."""
    prediction = "11111111-2222-3333-4444-555555555555"
    photos = [photo(image_format) for image_format in ("JPEG", "PNG", "TIFF", "WEBP")]
    raw = [{"content": data, "headers": {"content-type": f"image/{SECRET}"}} for data in photos]
    truncated = [{"content": data[: len(data) * 2 // 3], "headers": {"content-type": "image/jpeg"}} for data in photos]
    form_with_secrets = {
        "files": {"file": (f"{SECRET}.jpg", photos[0])},
        "data": {f"{SECRET}-field": f"{SECRET}-value"},
    }
    contribution = {
        "files": {"file": (f"{SECRET}.jpg", photos[0])},
        "data": {"label": "cat", "request_id": prediction, "consent": "true", SECRET: SECRET},
    }
    misnamed = {"files": {f"{SECRET}-part": (f"{SECRET}.jpg", photos[0])}}
    form = {"content-type": f"multipart/form-data; boundary=b; x={SECRET}"}
    partial = {"content": f"--b\r\n{SECRET}: {SECRET}\r\n\r\n{SECRET}", "headers": form}
    wrong = {"content": f"--b{SECRET}", "headers": form}
    texts = [
        json.dumps({"request_id": prediction, "label": f"{SECRET}-label"}),
        json.dumps({"request_id": f"{SECRET}-id", "label": "cat", SECRET: SECRET}),
        json.dumps({"request_id": prediction, "label": "cat", SECRET: SECRET}),
        f'{{"{SECRET}": {SECRET}',
    ]
    documents = [{"content": text, "headers": {"content-type": "application/json"}} for text in texts]
    other = {"content": SECRET, "headers": {"content-type": f"text/{SECRET}"}}
    return [{}, *raw, *truncated, form_with_secrets, contribution, misnamed, partial, wrong, *documents, other]


def send_all(client, base: str = "") -> set[int]:
    """Send every body to every route, and return the statuses."""
    return {
        client.request(
            method,
            base + path,
            params={SECRET: SECRET},
            **body | {"headers": HEADERS | body.get("headers", {})},
        ).status_code
        for method, path in PATHS
        for body in bodies()
    }


@pytest.fixture
def output(entry_point, logged, caplog):
    """Return a function that reads both outputs and what all loggers would have written at level DEBUG."""
    caplog.set_level(logging.WARNING, "httpx2")  # the test's own client
    caplog.set_level(logging.DEBUG)  # last, because it also sets the level of the handler
    return lambda: "".join([*logged.capsys.readouterr(), caplog.text]).lower()


@pytest.mark.slow
def test_no_route_logs_secrets(logged, output, tmp_path):
    """Each request is logged, whatever its status, without anything that the client sent. Photos are contributed."""
    logged.settings = Settings(contributions=str(tmp_path))
    statuses = send_all(logged.client)
    text = output()
    assert {200, 400, 404, 405, 415, 422} == statuses
    assert len(PATHS) * len(bodies()) == text.count('"message":"request"')
    assert SECRET not in text


@pytest.mark.slow
def test_unexpected_error_does_not_log_secrets(logged, output, monkeypatch):
    """The log has only the stack, because the messages of the error and its cause may quote the request."""

    def explode(*_):
        try:
            int(f"{SECRET}-bytes")
        except ValueError as error:
            raise RuntimeError(f"{SECRET}-detail") from error

    monkeypatch.setattr("lambda_app.inference.read_header", explode)
    statuses = send_all(logged.client)
    text = output()
    assert 500 in statuses
    assert "runtimeerror" in text
    assert "valueerror" in text
    assert SECRET not in text


def test_aws_client_logs_nothing(aws, logged, caplog, output):
    """At level DEBUG, botocore and urllib3 would write the photo's bytes, its metadata and S3's address to the log."""
    logged.settings = Settings(contributions="s3://bucket")
    [form] = [body for body in bodies() if "consent" in body.get("data", {})]
    assert 503 == logged.client.post("/feedback", **form).status_code
    assert set() == {record.name for record in caplog.records if record.name.startswith(("botocore", "urllib3"))}


def test_response_that_fails_midway_does_not_log_secrets(logged, output):
    """The server that closes the connection logs `BrokenResponse` instead of the original error."""

    def broken_stream():
        yield b"start"
        raise RuntimeError(f"{SECRET}-detail")

    logged.client.app.get("/broken")(lambda: StreamingResponse(broken_stream()))
    with pytest.raises(BrokenResponse) as broken:
        logged.client.get("/broken")
    assert SECRET not in output() + "".join(traceback.format_exception(broken.value)).lower()


@pytest.mark.process
def test_uvicorn_does_not_log_secrets(tmp_path):
    """uvicorn's own access log, with addresses and queries, is off."""
    command = [sys.executable, "-m", "uvicorn", "lambda_app.handler:app", "--port", "0", "--log-level", "debug"]
    log = tmp_path / "output"
    with log.open("w") as file, subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file) as process:
        try:
            base = wait_for_output(process, log, r"Uvicorn running on (\S+) ")
            with httpx2.Client(trust_env=False, timeout=DEADLINE_S) as client:
                statuses = send_all(client, base)
        finally:
            process.terminate()
    text = log.read_text().lower()
    assert {200, 400, 403, 404, 405, 415, 422} == statuses  # 403: contributions are off
    assert text.count('"message":"request"') > len(bodies())
    assert SECRET not in text
    assert 1 == text.count("127.0.0.1")  # the address that it listens on
    assert [] == [line for line in text.splitlines() if not line.startswith(("{", "debug:", "info:", "warning:"))]
