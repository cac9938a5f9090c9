"""Test `make demo`, and uvicorn as a real process, with the released model and the bundled photos."""

import itertools
import json
import re
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from infra.emulator import demo
from infra.emulator.event import HttpRequest, predict_request
from infra.emulator.process import session
from infra.emulator.runtime import lambda_runtime
from tests.support import ROOT
from tests.support.commands import execute
from tests.support.waiting import DEADLINE_S

HANDLER = """
import json

def handler(event, context):
    print(json.dumps({"request_id": "r", "message": "request"}))
    print(json.dumps({"request_id": "r", "_aws": {}}))
    return {"predicted_class": "cat", "request_id": "r"}
"""
DEMO = (sys.executable, "-m", "infra.emulator.demo")


@pytest.mark.rie
def test_demo_prints_answer_log_line_and_times() -> None:
    """The demo prints the cat's answer, the log line with its request ID, and the times."""
    done = execute(*DEMO)
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
    done = execute(*DEMO, "README.md")
    assert 1 == done.returncode
    assert "POST /predict answered 415" in done.stderr


@pytest.mark.rie
def test_demo_returns_answer_log_line_and_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo returns the answer, the handler's log line and the two times.

    The clock is a fake that advances by one second at each reading.
    """
    (tmp_path / "plain.py").write_text(HANDLER)
    runtime = partial(lambda_runtime, "plain.handler", env={"PYTHONPATH": str(tmp_path)}, timeout_s=DEADLINE_S)
    monkeypatch.setattr(demo, "lambda_runtime", runtime)
    monkeypatch.setattr(demo, "time", SimpleNamespace(perf_counter=itertools.count().__next__))
    result = demo.run(HttpRequest("POST", "/predict", headers=(("content-type", "image/jpeg"),), body=b"photo"))
    assert {"predicted_class": "cat", "request_id": "r"} == result.answer
    assert {"request_id": "r", "message": "request"} == json.loads(result.log_line)
    assert (1, 1 + 1) == (result.warm_s, result.cold_s)  # one second to listen, one for the first answer


def test_demo_names_missing_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing photo exits with 2 and one line on standard error."""
    assert 2 == demo.main([str(tmp_path / "nope.jpg")])
    assert f"demo: {tmp_path / 'nope.jpg'}: No such file or directory; expected a photo\n" == capsys.readouterr().err


@pytest.mark.process
def test_uvicorn_serves_app() -> None:
    """`uvicorn lambda_app.handler:app`, the server image's command, classifies the cat."""
    command = [sys.executable, "-m", "uvicorn", "lambda_app.handler:app", "--port", "0"]
    with session(command, cwd=ROOT, env={}) as process, process.stdout:  # type: ignore[union-attr]  # always a pipe
        lines = iter(process.stdout.readline, "")
        address = next(found[1] for line in lines if (found := re.search(r"running on (\S+)", line)))
        photo = predict_request(ROOT / "data/samples/cat.jpg").body
        headers = {"content-type": "image/jpeg"}
        response = httpx2.post(
            f"{address}/predict", content=photo, headers=headers, trust_env=False, timeout=DEADLINE_S
        )
    assert (200, "cat") == (response.status_code, response.json()["predicted_class"])
