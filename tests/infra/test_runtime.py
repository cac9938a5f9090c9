"""Test the real Runtime Interface Emulator with small handlers, alone and behind the function URL."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from infra.emulator import runtime, serve
from infra.emulator.invoke import invoke_url
from infra.emulator.process import session
from infra.emulator.runtime import Runtime, RuntimeDied, RuntimeNotFound, lambda_runtime
from infra.emulator.serve import background, local_app
from tests.support import ROOT
from tests.support.github import write_program
from tests.support.http_server import JPEG, get
from tests.support.waiting import DEADLINE_S, wait_until

# A typical function, and a faster one without imports for most tests.
APPLICATION = """
import os
from fastapi import FastAPI, Request, Response
from mangum import Mangum

app = FastAPI()

@app.get("/environment")
def environment():
    return dict(os.environ)

@app.post("/echo/{path:path}")
async def echo(request: Request, path: str):
    headers = {"x-path": path, "x-query": request.url.query}
    return Response(await request.body(), media_type=request.headers["content-type"], headers=headers)

handler = Mangum(app, lifespan="off")
"""
PLAIN = """
import json, os, threading

def handler(event, context):
    path = event.get("rawPath")
    if path == "/pid":
        print(json.dumps({"pid": os.getpid()}))
        return os.getpid()
    if path == "/hang":
        print(json.dumps({"hangs": os.getpid()}), flush=True)
        threading.Event().wait()
    if path == "/exit":
        os._exit(3)
    if path == "/raise":
        raise ValueError("on purpose")
    return {"predicted_class": "cat"}
"""


@dataclass(frozen=True)
class Local:
    runtime: Runtime
    client: httpx2.Client


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("handler")
    (folder / "application.py").write_text(APPLICATION)
    (folder / "plain.py").write_text(PLAIN)
    return {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="module")
def local(env: dict[str, str]) -> Iterator[Local]:
    with (
        lambda_runtime("application.handler", env=env, timeout_s=DEADLINE_S) as runtime,
        background(local_app(runtime)) as url,
        httpx2.Client(base_url=url, trust_env=False, timeout=DEADLINE_S) as client,
    ):
        yield Local(runtime, client)


@contextmanager
def serve_plain(env: dict[str, str]) -> Iterator[tuple[Runtime, str]]:
    """Yield a runtime of `PLAIN`, and its function URL."""
    with (
        lambda_runtime("plain.handler", env=env, timeout_s=DEADLINE_S) as runtime,
        background(local_app(runtime)) as url,
    ):
        yield runtime, url


@contextmanager
def output(process: subprocess.Popen[str]) -> Iterator[Iterator[str]]:
    """Yield the lines of a process as they come."""
    assert process.stdout
    with process.stdout:
        yield iter(process.stdout.readline, "")


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(*pids: int) -> None:
    wait_until(lambda: not any(map(is_alive, pids)))


class TestFunctionUrl:
    pytestmark = pytest.mark.rie

    def test_photo_makes_round_trip(self, local: Local) -> None:
        """A binary body, an encoded path and a query pass URL, emulator, Mangum and FastAPI unchanged."""
        response = local.client.post(
            "/echo/a%20b", content=JPEG, headers={"content-type": "image/jpeg"}, params={"k": ["1", "2"]}
        )
        assert (200, JPEG) == (response.status_code, response.content)
        assert ("a b", "k=1&k=2") == (response.headers["x-path"], response.headers["x-query"])

    def test_largest_photo_makes_round_trip(self, local: Local) -> None:
        """4.5 MB are within Lambda's limits for request and response."""
        body = bytes(4_500_000)
        response = local.client.post("/echo/", content=body, headers={"content-type": "image/jpeg"})
        assert (200, body) == (response.status_code, response.content)

    def test_handler_has_environment_of_lambda(self, local: Local) -> None:
        """The handler has the environment variables that Lambda sets."""
        actual = local.client.get("/environment").json()
        expected = {
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
            "AWS_LAMBDA_FUNCTION_NAME": "pet-classifier",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_REGION": "us-east-1",
            "_HANDLER": "application.handler",
        }
        assert expected == {name: actual.get(name) for name in expected}
        assert "AWS_LAMBDA_RUNTIME_API" in actual


class TestRuntime:
    pytestmark = pytest.mark.rie

    def test_failed_function_recovers(self, env: dict[str, str]) -> None:
        """A handler that raises or exits gets 502, and the next request succeeds."""
        with serve_plain(env) as (_, url):
            statuses = [get(url + path).status_code for path in ("/raise", "/pid", "/exit", "/pid")]
        assert [502, 200] * 2 == statuses

    def test_function_recovers_from_timeout(self, env: dict[str, str]) -> None:
        """A handler that times out gets 502, and later requests succeed: the next start may time out, too."""
        with (
            lambda_runtime("plain.handler", env=env, timeout_s=5) as runtime,
            background(local_app(runtime)) as url,
        ):
            assert 502 == get(f"{url}/hang").status_code
            wait_until(lambda: 200 == get(f"{url}/pid").status_code)

    def test_log_is_captured_and_processes_end(self, env: dict[str, str]) -> None:
        """The handler's JSON lines can be found; after the context, emulator and handler do not run."""
        with serve_plain(env) as (runtime, url):
            pid = get(f"{url}/pid").json()
            line = runtime.log_line(lambda record: record.get("pid") == pid, wait_s=DEADLINE_S)
            assert runtime.log_line(lambda record: "nothing like it" in record, wait_s=0.05) is None
        assert {"pid": pid} == json.loads(line or "")
        wait_until_gone(runtime.pid, pid)

    def test_handler_ends_after_crash_of_emulator(self, env: dict[str, str]) -> None:
        """A handler that still runs after its emulator crashed is stopped, too."""
        with serve_plain(env) as (runtime, url), ThreadPoolExecutor(1) as pool:
            crash = pool.submit(get, f"{url}/hang")
            line = runtime.log_line(lambda record: "hangs" in record, wait_s=DEADLINE_S)
            pid = json.loads(line or "")["hangs"]
            os.kill(runtime.pid, signal.SIGKILL)
            assert crash.result().status_code == 502
            assert is_alive(pid)
        wait_until_gone(runtime.pid, pid)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_processes_end_after_signal(self, env: dict[str, str], number: signal.Signals) -> None:
        """A signal to the launcher stops emulator and handler, even during an invocation."""
        script = (
            "import sys, urllib.request\n"
            "from infra.emulator.runtime import lambda_runtime\n"
            f"with lambda_runtime('plain.handler', echo=True, timeout_s={DEADLINE_S}) as runtime:\n"
            "    print(runtime.pid, flush=True)\n"
            "    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n"
            f'    direct.open(runtime.endpoint + sys.argv[1], b\'{{"rawPath": "/hang"}}\')\n'
        )
        command = [sys.executable, "-c", script, invoke_url("")]
        with session(command, cwd=ROOT, env=os.environ | env) as launcher, output(launcher) as lines:
            pids = [int(next(lines))]
            pids.append(next(json.loads(line)["hangs"] for line in lines if line.startswith('{"hangs"')))
            assert all(map(is_alive, pids))
            launcher.send_signal(number)
            launcher.wait()
            wait_until_gone(*pids)

    def test_echo_prints_only_handler(self, env: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
        """`echo` prints the handler's lines, but not the emulator's reports, whose values are not measured."""
        with lambda_runtime("plain.handler", env=env, timeout_s=DEADLINE_S, echo=True) as runtime:
            event = {"rawPath": "/pid"}
            pid = httpx2.post(invoke_url(runtime.endpoint), json=event, trust_env=False, timeout=DEADLINE_S).json()
            wait_until(lambda: any("REPORT" in line for line in runtime.lines))
        printed = capsys.readouterr().out
        assert ([f'{{"pid": {pid}}}'], False) == (printed.splitlines()[:1], "REPORT" in printed)

    def test_taken_port_is_retried(self, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        """If another process takes a port, the emulator starts on other ports."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            taken, free = listener.getsockname()[1], runtime._free_ports
            candidates = iter([(taken, free()[1]), (free()[0], taken)])
            monkeypatch.setattr(runtime, "_free_ports", lambda: next(candidates, None) or free())
            with lambda_runtime("plain.handler", env=env, timeout_s=DEADLINE_S) as started:
                url = invoke_url(started.endpoint)
                answer = httpx2.post(url, json={}, trust_env=False, timeout=DEADLINE_S).json()
        assert (None, "cat") == (next(candidates, None), answer["predicted_class"])


def test_missing_emulator_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the emulator, the error names the searched path and the command that installs it."""
    monkeypatch.setenv("AWS_LAMBDA_RIE", str(tmp_path / "rie"))
    with pytest.raises(RuntimeNotFound, match="make demo") as error, lambda_runtime():
        pass
    assert str(tmp_path / "rie") in str(error.value)


@pytest.mark.process
def test_dying_emulator_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An emulator that ends before it listens raises an error with its output."""
    write_program(tmp_path, "rie", "#!/bin/sh\necho out of luck >&2\nexit 7\n")
    monkeypatch.setenv("AWS_LAMBDA_RIE", str(tmp_path / "rie"))
    with pytest.raises(RuntimeDied) as died, lambda_runtime():
        pass
    assert "Lambda's runtime emulator ended with exit code 7; its output:\nout of luck" == str(died.value)


def test_serve_names_taken_port(capsys: pytest.CaptureFixture[str]) -> None:
    """A taken port exits with 1 and one line on standard error, before anything starts."""
    with serve.listen(0) as taken:
        port = taken.getsockname()[1]
        assert serve.main(["--port", str(port)]) == 1
    expected = f"serve: port {port}: Address already in use; choose another with --port or PORT=\n"
    assert expected == capsys.readouterr().err


@pytest.mark.usefixtures("without_keys")
def test_private_url_without_credentials_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """Serving a private URL without credentials exits with 1 and a one-line error."""
    assert 1 == serve.main(["--port", "0", "--auth", "AWS_IAM"])
    expected = "serve: AuthType AWS_IAM: expected AWS credentials in the environment; any will do\n"
    assert expected == capsys.readouterr().err
