"""Check real clients against a real server. The photo is red, which the tiny model classifies as a cat."""

import asyncio
import base64
import io
import json
import os
import shutil
import subprocess

import aiohttp
import httpx
import httpx2
import pytest
import requests

from tests.support.waiting import DEADLINE_S


@pytest.fixture
def photo_file(photo, tmp_path):
    path = tmp_path / "cat.jpg"
    path.write_bytes(photo)
    return path


# Programs


def run(command, tmp_path, **options):
    """Run a program without a proxy, and return its output as JSON."""
    environment = os.environ | {"NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, check=True, timeout=DEADLINE_S, **options
    )
    return json.loads(done.stdout)


CURL = {
    "a form": ["-F", "file=@cat.jpg"],
    "a form without a file name": ["-F", "file=<cat.jpg;type=image/jpeg"],
    "a form in base64": ["-F", "file=@cat.jpg;encoder=base64"],
    "the default content type": ["--data-binary", "@cat.jpg"],
    "an upload": ["-X", "POST", "-T", "cat.jpg"],
    "chunks": ["-H", "transfer-encoding: chunked", "--data-binary", "@cat.jpg"],
    "no content type": ["-H", "content-type:", "--data-binary", "@cat.jpg"],
}


needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not on PATH")


@needs_curl
@pytest.mark.process
@pytest.mark.parametrize("method", CURL)
def test_curl_is_answered(url, photo_file, tmp_path, method):
    """curl can send the photo in each of these ways."""
    answer = run(["curl", "--silent", "--show-error", *CURL[method], f"{url}/predict"], tmp_path)
    assert "cat" == answer["predicted_class"]


@needs_curl
@pytest.mark.process
def test_curl_head_is_answered(url):
    """The response to `curl --head` is 200 without a body."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--head", f"{url}/health"],
        capture_output=True,
        check=True,
        timeout=DEADLINE_S,
    )
    assert b"200 OK" in done.stdout.splitlines()[0]


NODE = {
    "a form with a Blob without a type": "const f = new FormData(); f.append('file', new Blob([data])); body = f",
    "a form with a File": "const f = new FormData(); f.append('file', new Blob([data]), 'cat.jpg'); body = f",
    "a Blob": "body = new Blob([data])",
    "bytes": "body = data",
    "a data URL": "body = 'data:image/jpeg;base64,' + data.toString('base64')",
    "JSON": "body = JSON.stringify({image: data.toString('base64url')})",
    "JSON under its type": "type = 'application/json'; body = JSON.stringify({image: data.toString('base64')})",
}


@pytest.mark.process
@pytest.mark.parametrize("method", NODE)
def test_node_fetch_is_answered(url, photo_file, tmp_path, method):
    """Node.js, whose fetch, FormData and Blob are those of browsers, can send the photo in each of these ways."""
    node = shutil.which("node") or shutil.which("nodejs")
    if not node:
        pytest.skip("node is not on PATH; expected `make system` to install it")
    script = f"""
        const data = require("fs").readFileSync("cat.jpg");
        let body, type;
        {NODE[method]};
        fetch("{url}/predict", {{ method: "POST", body, headers: type ? {{ "content-type": type }} : {{}} }})
            .then((answer) => answer.text()).then(console.log);
    """
    assert "cat" == run([node, "--eval", script], tmp_path)["predicted_class"]


# Python's libraries


@pytest.mark.parametrize("client", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_httpx_is_answered(url, photo, client):
    """httpx can send forms, bytes without a content type, a stream without a length, and JSON."""
    methods = [
        {"files": {"file": photo}},
        {"files": {"file": ("Käse\u2028.jpg", photo)}, "data": {"name": "Tom"}},
        {"content": photo},
        {"content": iter([photo[:100], photo[100:]])},
        {"json": {"image": base64.b64encode(photo).decode()}},
    ]
    with client.Client(base_url=url, trust_env=False, timeout=DEADLINE_S) as session:
        answers = [session.post("/predict", **method).json() for method in methods]
    assert ["cat"] * len(methods) == [answer["predicted_class"] for answer in answers]


def test_requests_is_answered(url, photo):
    """requests can send forms with and without a file name, bytes, a stream without a length, and JSON."""
    methods = [
        {"files": {"file": photo}},
        {"files": {"file": ("Käse.jpg", photo)}},
        {"files": {"file": (None, photo)}},
        {"data": photo},
        {"data": iter([photo[:100], photo[100:]])},
        {"json": {"image": base64.b64encode(photo).decode()}},
    ]
    with requests.Session() as session:
        session.trust_env = False
        answers = [session.post(f"{url}/predict", timeout=DEADLINE_S, **method).json() for method in methods]
    assert ["cat"] * len(methods) == [answer["predicted_class"] for answer in answers]


def test_aiohttp_is_answered(url, photo):
    """aiohttp can send forms with and without a file name, bytes, compressed bytes, and JSON."""

    def form(**options):
        data = aiohttp.FormData()
        data.add_field("file", io.BytesIO(photo), **options)
        return data

    methods = [
        lambda: {"data": form(filename="Käse.jpg")},
        lambda: {"data": form(content_type="image/jpeg")},
        lambda: {"data": form()},
        lambda: {"data": photo},
        lambda: {"data": photo, "compress": "gzip"},
        lambda: {"data": photo, "compress": "deflate"},
        lambda: {"json": {"image": base64.b64encode(photo).decode()}},
    ]

    async def send():
        timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            answers = []
            for method in methods:
                async with session.post(f"{url}/predict", **method()) as answer:
                    answers.append((await answer.json())["predicted_class"])
            return answers

    assert ["cat"] * len(methods) == asyncio.run(send())
