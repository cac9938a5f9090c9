"""Real clients against a real server, on the tiny model: the photo is red, and so a cat."""

import asyncio
import base64
import io
import json
import os
import shutil
import subprocess
import sys

import aiohttp
import httpx
import httpx2
import pytest
import requests

PATIENCE_S = 600


@pytest.fixture
def photo_file(photo, tmp_path):
    path = tmp_path / "cat.jpg"
    path.write_bytes(photo)
    return path


# Programs


def run(command, tmp_path, **options):
    """Run a program without a proxy, and return its output as JSON."""
    (tmp_path / "config.json").write_text('{"disable_update_warnings": true}')  # HTTPie would ask its maker
    environment = os.environ | {"NO_PROXY": "127.0.0.1", "HTTPIE_CONFIG_DIR": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, check=True, timeout=PATIENCE_S, **options
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


@pytest.mark.process
@pytest.mark.parametrize("way", CURL)
def test_curl_is_answered(url, photo_file, tmp_path, way):
    """Each way in which curl sends a file works."""
    answer = run(["curl", "--silent", "--show-error", *CURL[way], f"{url}/predict"], tmp_path)
    assert "cat" == answer["predicted_class"]


@pytest.mark.process
def test_curl_head_is_answered(url, tmp_path):
    """`curl --head` gets 200 and no body."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--head", f"{url}/health"],
        capture_output=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert b"200 OK" in done.stdout.splitlines()[0]


@pytest.mark.process
@pytest.mark.parametrize("arguments", [["--form", "file@cat.jpg"], ["--multipart", "file@cat.jpg"], ["@cat.jpg"]])
def test_httpie_is_answered(url, photo_file, tmp_path, arguments):
    """HTTPie sends the file as a form or as the body."""
    options = [one for one in arguments if one.startswith("--")]
    items = [one for one in arguments if not one.startswith("--")]
    command = [sys.executable, "-m", "httpie", "--ignore-stdin", "--body", *options, "POST", f"{url}/predict", *items]
    assert "cat" == run(command, tmp_path)["predicted_class"]


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
@pytest.mark.parametrize("way", NODE)
def test_nodes_fetch_is_answered(url, photo_file, tmp_path, way):
    """Node 18 and later implement fetch, FormData and Blob as browsers do."""
    node = shutil.which("node") or shutil.which("nodejs")
    if not node:
        pytest.skip("node is not on PATH; expected `make system` to install it")
    script = f"""
        const data = require("fs").readFileSync("cat.jpg");
        let body, type;
        {NODE[way]};
        fetch("{url}/predict", {{ method: "POST", body, headers: type ? {{ "content-type": type }} : {{}} }})
            .then((answer) => answer.text()).then(console.log);
    """
    assert "cat" == run([node, "--eval", script], tmp_path)["predicted_class"]


# Python's libraries


@pytest.mark.parametrize("client", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_httpx_is_answered(url, photo, client):
    """Forms, bytes without a content type, a stream without a length, and JSON work."""
    ways = [
        {"files": {"file": photo}},
        {"files": {"file": ("Käse\u2028.jpg", photo)}, "data": {"name": "Tom"}},
        {"content": photo},
        {"content": iter([photo[:100], photo[100:]])},
        {"json": {"image": base64.b64encode(photo).decode()}},
    ]
    with client.Client(base_url=url, trust_env=False, timeout=PATIENCE_S) as session:
        answers = [session.post("/predict", **way).json() for way in ways]
    assert ["cat"] * len(ways) == [answer["predicted_class"] for answer in answers]


def test_requests_is_answered(url, photo):
    """Forms with and without a file name, bytes, a stream without a length, and JSON work."""
    ways = [
        {"files": {"file": photo}},
        {"files": {"file": ("Käse.jpg", photo)}},
        {"files": {"file": (None, photo)}},
        {"data": photo},
        {"data": iter([photo[:100], photo[100:]])},
        {"json": {"image": base64.b64encode(photo).decode()}},
    ]
    with requests.Session() as session:
        session.trust_env = False
        answers = [session.post(f"{url}/predict", timeout=PATIENCE_S, **way).json() for way in ways]
    assert ["cat"] * len(ways) == [answer["predicted_class"] for answer in answers]


def test_aiohttp_is_answered(url, photo):
    """Forms with and without a file name, bytes, compressed bytes, and JSON work."""

    def form(**options):
        data = aiohttp.FormData()
        data.add_field("file", io.BytesIO(photo), **options)
        return data

    ways = [
        lambda: {"data": form(filename="Käse.jpg")},
        lambda: {"data": form(content_type="image/jpeg")},
        lambda: {"data": form()},
        lambda: {"data": photo},
        lambda: {"data": photo, "compress": "gzip"},
        lambda: {"data": photo, "compress": "deflate"},
        lambda: {"json": {"image": base64.b64encode(photo).decode()}},
    ]

    async def ask():
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            answers = []
            for way in ways:
                async with session.post(f"{url}/predict", **way()) as answer:
                    answers.append((await answer.json())["predicted_class"])
            return answers

    assert ["cat"] * len(ways) == asyncio.run(ask())
