"""`make demo` and uvicorn, as a user starts them: real processes, the released model, the bundled photos."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from infra.emulator.event import predict_request
from infra.emulator.process import session
from infra.emulator.runtime import RuntimeNotFound, find_rie

ROOT = Path(__file__).parents[2]


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.emulator.demo", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture
def rie() -> None:
    try:
        find_rie()
    except RuntimeNotFound as error:
        pytest.skip(str(error))


@pytest.mark.rie
@pytest.mark.usefixtures("rie")
def test_demo_prints_answer_log_line_and_times() -> None:
    """The bundled cat is a cat, in Lambda's own runtime; the log line is the answer's own."""
    done = demo()
    assert (0, "") == (done.returncode, done.stderr)
    assert '"predicted_class": "cat"' in done.stdout
    answer = json.loads(re.search(r"^\{.*?^\}", done.stdout, re.DOTALL | re.MULTILINE)[0])  # type: ignore[index]  # asserted above
    [line] = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"level"')]
    assert answer["request_id"] == line["request_id"]
    assert line["cold_start"] is True
    assert re.search(r"^Cold \d+ ms.*\nWarm \d+\.\d ms", done.stdout, re.MULTILINE)


@pytest.mark.rie
@pytest.mark.usefixtures("rie")
def test_demo_fails_on_what_is_no_photo() -> None:
    """A file that is not an image is answered by the function, and the exit code says so."""
    done = demo("README.md")
    assert 1 == done.returncode
    assert "POST /predict answered 415" in done.stderr


@pytest.mark.process
def test_demo_names_a_missing_photo() -> None:
    """One line, exit code 2, and nothing was started."""
    done = demo("nowhere.jpg")
    assert (2, "demo: nowhere.jpg: No such file or directory; expected a photo\n") == (done.returncode, done.stderr)


@pytest.mark.process
def test_uvicorn_serves_the_same_app() -> None:
    """`uvicorn lambda_app.handler:app` is the container's other command."""
    command = [sys.executable, "-m", "uvicorn", "lambda_app.handler:app", "--port", "0"]
    with session(command, cwd=ROOT, env={}) as process, process.stdout:  # type: ignore[union-attr]  # a pipe, always
        lines = iter(process.stdout.readline, "")
        address = next(found[1] for line in lines if (found := re.search(r"running on (\S+)", line)))
        photo = predict_request(ROOT / "data/samples/cat.jpg").body
        headers = {"content-type": "image/jpeg"}
        answer = httpx2.post(f"{address}/predict", content=photo, headers=headers, trust_env=False, timeout=600)
    assert (200, "cat") == (answer.status_code, answer.json()["predicted_class"])
