"""The real Runtime Interface Emulator with a tiny handler, alone and behind the function URL."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from infra.local import demo, serve
from infra.local.event import HttpRequest
from infra.local.runtime import Runtime, RuntimeDied, RuntimeNotFound, find_rie, lambda_runtime
from infra.local.serve import background, local_app

ROOT = Path(__file__).parents[2]
JPEG = bytes(range(256)) * 4
HANDLER = """
import json, os, time
from fastapi import FastAPI, Request, Response
from mangum import Mangum

app = FastAPI()

@app.get("/pid")
def pid():
    print(json.dumps({"pid": os.getpid()}))
    return os.getpid()

@app.get("/environment")
def environment():
    return dict(os.environ)

@app.get("/sleep/{seconds}")
def sleep(seconds: float):
    time.sleep(seconds)
    return os.getpid()

@app.get("/exit")
def exit():
    os._exit(3)

@app.post("/echo/{path:path}")
async def echo(request: Request, path: str):
    headers = {"x-path": path, "x-query": request.url.query}
    return Response(await request.body(), media_type=request.headers["content-type"], headers=headers)

@app.post("/predict")
def predict():
    print(json.dumps({"request_id": "r", "message": "request"}))
    print(json.dumps({"request_id": "r", "_aws": {}}))
    return {"predicted_class": "cat", "request_id": "r"}

mangum = Mangum(app, lifespan="off")

def handler(event, context):
    if event.get("rawPath") == "/raise":
        raise ValueError("on purpose")
    return mangum(event, context)
"""


def missing_rie() -> str | None:
    try:
        find_rie()
    except RuntimeNotFound as error:
        return str(error)
    return None


needs_rie = [pytest.mark.rie, pytest.mark.skipif(bool(missing_rie()), reason=missing_rie() or "")]


@dataclass(frozen=True)
class Local:
    runtime: Runtime
    client: httpx2.Client


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("handler")
    (folder / "tiny.py").write_text(HANDLER)
    return {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="module")
def local(env: dict[str, str]) -> Iterator[Local]:
    with (
        lambda_runtime("tiny.handler", env=env, timeout_s=2) as runtime,
        background(local_app(runtime.endpoint)) as url,
        httpx2.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        yield Local(runtime, client)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie, which waits for its parent to notice, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(*pids: int) -> list[int]:
    deadline = time.monotonic() + 5
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return [pid for pid in pids if alive(pid)]


@pytest.mark.usefixtures("local")
class TestBehindTheUrl:
    pytestmark = needs_rie

    def test_photo_there_and_back(self, local: Local) -> None:
        """A binary body, an encoded path and a query pass through URL, emulator, Mangum and FastAPI, and back."""
        response = local.client.post(
            "/echo/a%20b", content=JPEG, headers={"content-type": "image/jpeg"}, params={"k": ["1", "2"]}
        )
        assert (200, JPEG) == (response.status_code, response.content)
        assert ("a b", "k=1&k=2") == (response.headers["x-path"], response.headers["x-query"])

    def test_largest_photo(self, local: Local) -> None:
        """4.5 MB there and back are within Lambda's limits."""
        body = bytes(4_500_000)
        response = local.client.post("/echo/", content=body, headers={"content-type": "image/jpeg"})
        assert (200, body) == (response.status_code, response.content)

    def test_log_is_captured(self, local: Local) -> None:
        """The JSON lines that the handler prints can be found by what they say."""
        pid = local.client.get("/pid").json()
        line = local.runtime.log_line(lambda record: record.get("pid") == pid)
        assert {"pid": pid} == json.loads(line or "")

    def test_log_without_such_a_line(self, local: Local) -> None:
        """A line that does not come is None after the wait."""
        assert local.runtime.log_line(lambda record: "nothing like it" in record, wait_s=0.05) is None

    def test_environment(self, local: Local) -> None:
        """The handler finds the variables that Lambda sets."""
        actual = local.client.get("/environment").json()
        expected = {
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
            "AWS_LAMBDA_FUNCTION_NAME": "pet-classifier",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_REGION": "us-east-1",
            "_HANDLER": "tiny.handler",
        }
        assert expected == {name: actual.get(name) for name in expected}
        assert "AWS_LAMBDA_RUNTIME_API" in actual

    def test_requests_at_once(self, local: Local) -> None:
        """Requests that come at once are all answered, though the emulator crashes on two invocations at once."""
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda _: local.client.get("/pid").status_code, range(8)))
        assert [200] * 8 == statuses

    @pytest.mark.parametrize("path", ["/raise", "/exit", "/sleep/30"])
    def test_failed_function(self, local: Local, path: str) -> None:
        """A handler that raises, dies or takes too long is 502, and the next request finds it at work again."""
        assert local.client.get(path).status_code == 502
        assert local.client.get("/pid").status_code == 200


class TestProcesses:
    pytestmark = needs_rie

    def test_nothing_is_left(self, env: dict[str, str]) -> None:
        """After the context neither the emulator nor the handler's process runs."""
        with lambda_runtime("tiny.handler", env=env) as runtime, background(local_app(runtime.endpoint)) as url:
            pid = httpx2.get(f"{url}/pid", trust_env=False).json()
        assert wait_until_gone(runtime.pid, pid) == []

    def test_nothing_is_left_of_a_crash(self, env: dict[str, str]) -> None:
        """A handler that still works when its emulator has crashed is stopped too."""
        with lambda_runtime("tiny.handler", env=env) as runtime, background(local_app(runtime.endpoint)) as url:
            pid = httpx2.get(f"{url}/pid", trust_env=False).json()
            with ThreadPoolExecutor(1) as pool:
                crash = pool.submit(httpx2.get, f"{url}/sleep/30", trust_env=False, timeout=30)
                time.sleep(0.2)
                os.kill(runtime.pid, signal.SIGKILL)
                assert crash.result().status_code == 502
            assert alive(pid)
        assert wait_until_gone(runtime.pid, pid) == []

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_nothing_is_left_after_a_signal(self, env: dict[str, str], number: signal.Signals) -> None:
        """A launcher that is told to stop takes emulator and handler with it, also in the middle of an invocation."""
        script = (
            "import httpx2\n"
            "from infra.local.runtime import lambda_runtime\n"
            "from infra.local.serve import background, local_app\n"
            "with lambda_runtime('tiny.handler') as runtime, background(local_app(runtime.endpoint)) as url:\n"
            "    print(runtime.pid, httpx2.get(url + '/pid', trust_env=False).text, flush=True)\n"
            "    httpx2.get(url + '/sleep/10', trust_env=False, timeout=20)\n"
        )
        command = [sys.executable, "-c", script]
        with subprocess.Popen(command, cwd=ROOT, env=os.environ | env, stdout=subprocess.PIPE, text=True) as launcher:
            assert launcher.stdout
            pids = [int(pid) for pid in launcher.stdout.readline().split()]
            time.sleep(0.3)
            assert all(map(alive, pids))
            launcher.send_signal(number)
            launcher.wait(timeout=20)
        assert ([], 2) == (wait_until_gone(*pids), len(pids))

    def test_echo_shows_the_handler(self, env: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
        """With `echo` the handler's lines are printed, and the emulator's reports, which it makes up, are not."""
        with lambda_runtime("tiny.handler", env=env, echo=True) as runtime:
            with background(local_app(runtime.endpoint)) as url:
                pid = httpx2.get(f"{url}/pid", trust_env=False).json()
            assert runtime.log_line(lambda record: record.get("pid") == pid)
            time.sleep(0.1)
        printed = capsys.readouterr().out
        assert ([f'{{"pid": {pid}}}'], False) == (printed.splitlines()[:1], "REPORT" in printed)

    def test_demo(self, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """The demo returns the answer, the handler's log line (not its metrics) and the two times."""
        monkeypatch.setattr(demo, "lambda_runtime", lambda: lambda_runtime("tiny.handler", env=env))
        shown = demo.run(HttpRequest("POST", "/predict", headers=(("content-type", "image/jpeg"),), body=JPEG))
        assert {"predicted_class": "cat", "request_id": "r"} == shown.answer
        assert {"request_id": "r", "message": "request"} == json.loads(shown.log_line)
        assert 0 < shown.warm_s < shown.cold_s

    def test_demo_names_what_failed(
        self, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        """A demo that does not work ends with exit code 1 and one line that says what failed."""
        (tmp_path / "cat.jpg").write_bytes(JPEG)
        monkeypatch.setattr(demo, "lambda_runtime", lambda: lambda_runtime("no_such_module.handler", env=env))
        assert demo.main([str(tmp_path / "cat.jpg")]) == 1
        assert "demo: POST /predict answered 502, expected 200" in capsys.readouterr().err

    def test_serving_an_invoke_api(self, env: dict[str, str]) -> None:
        """`serve --invoke` stands in front of an Invoke API that is already there."""
        with lambda_runtime("tiny.handler", env=env) as runtime, serve.listen(0) as free:
            port = free.getsockname()[1]
            free.close()
            command = [sys.executable, "-m", "infra.local.serve", "--port", str(port), "--invoke", runtime.endpoint]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
                assert server.stdout
                assert f"Serving http://127.0.0.1:{port} (Ctrl-C stops)\n" == server.stdout.readline()
                response = httpx2.get(f"http://127.0.0.1:{port}/pid", trust_env=False, timeout=20)
                server.send_signal(signal.SIGINT)
                assert (200, 0) == (response.status_code, server.wait(timeout=10))


def test_missing_emulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the emulator the error says where it was looked for and what installs it."""
    monkeypatch.setenv("AWS_LAMBDA_RIE", str(tmp_path / "rie"))
    with pytest.raises(RuntimeNotFound, match="make demo") as refused, lambda_runtime():
        pass
    assert str(tmp_path / "rie") in str(refused.value)


def test_emulator_that_dies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An emulator that ends before it listens is an error with everything it printed."""
    (tmp_path / "rie").write_text("#!/bin/sh\necho out of luck >&2\nexit 7\n")
    (tmp_path / "rie").chmod(0o755)
    monkeypatch.setenv("AWS_LAMBDA_RIE", str(tmp_path / "rie"))
    with pytest.raises(RuntimeDied) as died, lambda_runtime():
        pass
    assert "Lambda's runtime emulator ended with exit code 7; its output:\nout of luck" == str(died.value)


def test_demo_without_a_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A photo that is not there is one line on standard error and exit code 2."""
    assert demo.main([str(tmp_path / "nope.jpg")]) == 2
    assert f"demo: {tmp_path / 'nope.jpg'}: No such file or directory; expected a photo\n" == capsys.readouterr().err


def test_port_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is taken is one line on standard error, before anything is started."""
    with serve.listen(0) as taken:
        port = taken.getsockname()[1]
        assert serve.main(["--port", str(port)]) == 1
    expected = f"serve: port {port}: Address already in use; choose another with --port or PORT=\n"
    assert expected == capsys.readouterr().err
