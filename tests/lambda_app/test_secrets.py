"""Nothing that a client sent is logged: a secret in all that it can send, on every route, is nowhere in the output."""

import importlib
import json
import logging
import re
import subprocess
import sys
import time
import traceback
from io import BytesIO
from pathlib import Path

import httpx2
import pytest
from PIL import Image, PngImagePlugin
from starlette.responses import StreamingResponse

from lambda_app.app import ROUTES
from lambda_app.telemetry.middleware import BrokenAnswer

ROOT = Path(__file__).parents[2]
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
    """With a secret wherever the format has room for text."""
    image, buffer, exif = Image.new("RGB", (64, 48), "red"), BytesIO(), Image.Exif()
    exif[0x010E] = exif[0x9286] = f"{SECRET}-exif"  # ImageDescription, UserComment
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", f"{SECRET}-text")
    options = {"JPEG": {"comment": f"{SECRET}-comment"}, "PNG": {"pnginfo": text}}.get(image_format, {})
    image.save(buffer, image_format, exif=exif, **options)
    return buffer.getvalue()


def bodies() -> list[dict]:
    """Of requests: photos whole and broken off, forms good and bad, JSON good and bad."""
    prediction = "11111111-2222-3333-4444-555555555555"
    whole = [photo(image_format) for image_format in ("JPEG", "PNG", "TIFF", "WEBP")]
    raw = [{"content": data, "headers": {"content-type": f"image/{SECRET}"}} for data in whole]
    broken = [{"content": data[: len(data) * 2 // 3], "headers": {"content-type": "image/jpeg"}} for data in whole]
    named = {"files": {"file": (f"{SECRET}.jpg", whole[0])}, "data": {f"{SECRET}-field": f"{SECRET}-value"}}
    stray = {"files": {f"{SECRET}-part": (f"{SECRET}.jpg", whole[0])}}
    form = {"content-type": f"multipart/form-data; boundary=b; x={SECRET}"}
    torn = {"content": f"--b\r\n{SECRET}: {SECRET}\r\n\r\n{SECRET}", "headers": form}
    wrong = {"content": f"--b{SECRET}", "headers": form}
    texts = [
        json.dumps({"request_id": prediction, "label": f"{SECRET}-label"}),
        json.dumps({"request_id": f"{SECRET}-id", "label": "cat", SECRET: SECRET}),
        json.dumps({"request_id": prediction, "label": "cat", SECRET: SECRET}),
        f'{{"{SECRET}": {SECRET}',
    ]
    said = [{"content": text, "headers": {"content-type": "application/json"}} for text in texts]
    other = {"content": SECRET, "headers": {"content-type": f"text/{SECRET}"}}
    return [{}, *raw, *broken, named, stray, torn, wrong, *said, other]


def ask(client, base: str = "") -> set[int]:
    """Every route with every body; the statuses that came."""
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


@pytest.fixture(scope="module")
def entry_point():
    """Quietens some libraries' loggers."""
    return importlib.import_module("lambda_app.handler")


@pytest.fixture
def everything(entry_point, logged, caplog):
    """All that was written: both outputs, and what the loggers of all libraries would have written at DEBUG."""
    caplog.set_level(logging.WARNING, "httpx2")  # the client's own
    caplog.set_level(logging.DEBUG)  # last, for it also sets what is caught
    return lambda: "".join([*logged.capsys.readouterr(), caplog.text]).lower()


@pytest.mark.slow
def test_every_route_keeps_secrets(logged, everything):
    """Whatever the answer: each request left its line, and none of what was sent."""
    statuses = ask(logged.client)
    text = everything()
    assert {200, 400, 404, 405, 415, 422} == statuses
    assert len(PATHS) * len(bodies()) == text.count('"message":"request"')
    assert SECRET not in text


@pytest.mark.slow
def test_a_crash_keeps_secrets(logged, everything, monkeypatch):
    """An unexpected error's message may quote what was sent, and so may its cause's: only the stack is logged."""

    def explode(data, *_):
        try:
            int(f"{SECRET}-bytes")
        except ValueError as error:
            raise RuntimeError(f"{SECRET}-detail") from error

    monkeypatch.setattr("lambda_app.inference.read_header", explode)
    answers = ask(logged.client)
    text = everything()
    assert 500 in answers
    assert "runtimeerror" in text
    assert "valueerror" in text
    assert SECRET not in text


def test_an_answer_that_breaks_off_keeps_secrets(logged, everything):
    """The server that cuts the connection logs an error of ours, not the one that quotes."""

    def half():
        yield b"half"
        raise RuntimeError(f"{SECRET}-detail")

    logged.client.app.get("/half")(lambda: StreamingResponse(half()))
    with pytest.raises(BrokenAnswer) as broken:
        logged.client.get("/half")
    assert SECRET not in everything() + "".join(traceback.format_exception(broken.value)).lower()


@pytest.mark.process
def test_the_server_of_containers_keeps_secrets(tmp_path):
    """uvicorn would log each request's address and query."""
    command = [sys.executable, "-m", "uvicorn", "lambda_app.handler:app", "--port", "0", "--log-level", "debug"]
    output = tmp_path / "output"
    with output.open("w") as file, subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file) as process:
        try:
            while not (base := re.search(r"Uvicorn running on (\S+) ", output.read_text())) and process.poll() is None:
                time.sleep(0.05)
            with httpx2.Client(trust_env=False, timeout=600) as client:
                statuses = ask(client, base[1])
        finally:
            process.terminate()
    text = output.read_text().lower()
    assert {200, 400, 404, 405, 415, 422} == statuses
    assert text.count('"message":"request"') > len(bodies())
    assert SECRET not in text
    assert 1 == text.count("127.0.0.1")  # where it listens
    assert [] == [line for line in text.splitlines() if not line.startswith(("{", "debug:", "info:", "warning:"))]
