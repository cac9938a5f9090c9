"""Tests of `make demo` and of uvicorn as real processes, with the released model and the bundled photos."""

import json
import re
import subprocess
import sys

import httpx2
import pytest

from infra.emulator.event import predict_request
from infra.emulator.process import session
from tests.support import ROOT


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.emulator.demo", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.rie
def test_demo_prints_answer_log_line_and_times() -> None:
    """The demo prints the cat's answer, the log line with its request ID, and the times."""
    done = demo()
    assert (0, "") == (done.returncode, done.stderr)
    assert '"predicted_class": "cat"' in done.stdout
    answer = json.loads(re.search(r"^\{.*?^\}", done.stdout, re.DOTALL | re.MULTILINE)[0])  # type: ignore[index]  # asserted above
    [line] = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"level"')]
    assert answer["request_id"] == line["request_id"]
    assert line["cold_start"] is True
    assert re.search(r"^Cold \d+ ms.*\nWarm \d+\.\d ms", done.stdout, re.MULTILINE)


@pytest.mark.rie
def test_demo_fails_for_unsupported_file() -> None:
    """A file that is not an image exits with 1 and the function's error."""
    done = demo("README.md")
    assert 1 == done.returncode
    assert "POST /predict answered 415" in done.stderr


@pytest.mark.process
def test_demo_names_missing_photo() -> None:
    """A missing photo exits with 2 and one line, before anything starts."""
    done = demo("nowhere.jpg")
    assert (2, "demo: nowhere.jpg: No such file or directory; expected a photo\n") == (done.returncode, done.stderr)


@pytest.mark.process
def test_uvicorn_serves_app() -> None:
    """`uvicorn lambda_app.handler:app`, the server image's command, classifies the cat."""
    command = [sys.executable, "-m", "uvicorn", "lambda_app.handler:app", "--port", "0"]
    with session(command, cwd=ROOT, env={}) as process, process.stdout:  # type: ignore[union-attr]  # always a pipe
        lines = iter(process.stdout.readline, "")
        address = next(found[1] for line in lines if (found := re.search(r"running on (\S+)", line)))
        photo = predict_request(ROOT / "data/samples/cat.jpg").body
        headers = {"content-type": "image/jpeg"}
        response = httpx2.post(f"{address}/predict", content=photo, headers=headers, trust_env=False, timeout=600)
    assert (200, "cat") == (response.status_code, response.json()["predicted_class"])
