"""Run the handler in Lambda's runtime without Docker, with AWS's Runtime Interface Emulator (RIE).

The RIE is part of aws-sam-cli. It starts `python -m awslambdaric HANDLER`, as the container image does, and serves
Lambda's Invoke API: https://github.com/aws/aws-lambda-runtime-interface-emulator.
"""

import contextlib
import json
import os
import platform
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra import ROOT
from infra.emulator.process import session, terminable

MEMORY_MB, FUNCTION_TIMEOUT_S = 1769, 15  # the defaults of template.yaml
START_TIMEOUT_S = 60  # 20 ms on an idle machine, seconds on a busy one
START_ATTEMPTS = 10
# Lines to hide: the emulator does not measure the durations and the memory in its reports.
EMULATOR_LINE = re.compile(r"(START|END|REPORT) RequestId: ")


class RuntimeNotFound(Exception):
    """The emulator is not installed; the message names the searched path and the command that installs it."""


class RuntimeDied(Exception):
    """The emulator ended or never listened; the message holds its output."""


class PortTaken(RuntimeDied):
    """Another process bound one of the ports before the emulator did."""


@dataclass(frozen=True)
class Runtime:
    endpoint: str
    pid: int
    lines: list[str]  # the output of emulator and handler so far; grows from a thread
    timeout_s: int  # of the function

    def log_line(self, matches: Callable[[dict[str, Any]], bool], *, wait_s: float = 60) -> str | None:
        """Return the last JSON line that matches, or None. Wait up to `wait_s` for it: it can follow the response."""
        deadline = time.monotonic() + wait_s
        while True:
            found = [line for line in self.lines if (record := _json_object(line)) and matches(record)]
            if found or time.monotonic() > deadline:
                return found[-1] if found else None
            time.sleep(0.01)


@contextlib.contextmanager
def lambda_runtime(
    handler: str = "lambda_app.handler.handler",
    *,
    env: dict[str, str] | None = None,
    timeout_s: int = FUNCTION_TIMEOUT_S,
    echo: bool = False,
    task: Path = ROOT,
    log_level: str = "warning",
    core: str | None = None,
) -> Iterator[Runtime]:
    """Run the handler behind Lambda's Invoke API on a free port; stop all its processes when the context ends.

    `timeout_s`: the function's timeout. `echo`: print the handler's output. `task`: the folder of the handler.
    `log_level`: the emulator's log level. `core`: the only CPU core to use.
    """
    program = [sys.executable, "-m", "awslambdaric", handler]
    pinned = ["taskset", "--cpu-list", core] if core else []
    command = [*pinned, str(find_rie()), "--log-level", log_level]
    environment = _environment(handler, timeout_s) | {"LAMBDA_TASK_ROOT": str(task)} | (env or {})

    def start(ports: tuple[int, int]) -> contextlib.AbstractContextManager[Runtime]:
        return _emulator([*command, *_addresses(*ports), *program], ports, task, environment, echo=echo)

    with terminable(), contextlib.ExitStack() as stack:
        yield _retry(lambda: stack.enter_context(start(_free_ports())))


def _retry(start: Callable[[], Runtime]) -> Runtime:
    """Retry with other ports if a port is taken: the emulator cannot choose a free one."""
    for _ in range(START_ATTEMPTS - 1):
        with contextlib.suppress(PortTaken):
            return start()
    return start()


@contextlib.contextmanager
def _emulator(
    command: list[str], ports: tuple[int, int], task: Path, environment: dict[str, str], *, echo: bool
) -> Iterator[Runtime]:
    """Yield the runtime as soon as it listens. After the context, `lines` holds all of its output."""
    lines: list[str] = []
    with ThreadPoolExecutor(1) as reader, session(command, cwd=task, env=environment) as process:
        reading = reader.submit(_read, process, lines, echo=echo)
        _wait_until_listening(process, set(ports), reading, lines)
        timeout_s = int(environment["AWS_LAMBDA_FUNCTION_TIMEOUT"])
        yield Runtime(f"http://127.0.0.1:{ports[0]}", process.pid, lines, timeout_s)


def _addresses(port: int, api_port: int) -> list[str]:
    emulator, api = f"127.0.0.1:{port}", f"127.0.0.1:{api_port}"
    return ["--runtime-interface-emulator-address", emulator, "--runtime-api-address", api]


def find_rie() -> Path:
    """Return the emulator's binary. Raise `RuntimeNotFound` if it is not installed."""
    if platform.system() != "Linux":
        raise RuntimeNotFound(f"{platform.system()}: expected Linux, which AWS's Runtime Interface Emulator needs")
    machine = "arm64" if platform.machine() == "aarch64" else "x86_64"
    pattern = f".venv-sam/lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}"
    override = os.environ.get("AWS_LAMBDA_RIE")
    found = [Path(override)] if override else sorted(ROOT.glob(pattern))
    if not found or not found[0].is_file():
        raise RuntimeNotFound(
            f"{override or pattern}: no Runtime Interface Emulator there; "
            "`make demo` installs it, AWS_LAMBDA_RIE=FILE names another"
        )
    return found[0]


def _environment(handler: str, timeout_s: int) -> dict[str, str]:
    """Return Lambda's environment variables, except those that the RIE sets.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    return os.environ | {
        "_HANDLER": handler,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(MEMORY_MB),
        "AWS_LAMBDA_FUNCTION_NAME": "pet-classifier",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_s),  # only the RIE reads it
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_REGION": "us-east-1",
        "TZ": ":UTC",
    }


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        return first.getsockname()[1], second.getsockname()[1]


def _read(process: subprocess.Popen[str], lines: list[str], *, echo: bool) -> None:
    assert process.stdout
    with process.stdout:
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if echo and not EMULATOR_LINE.match(line):
                print(lines[-1], flush=True)


def _wait_until_listening(
    process: subprocess.Popen[str], ports: set[int], reading: Future[None], lines: list[str]
) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if ports <= _listening(process.pid):
            return
        time.sleep(0.01)
    code = process.poll()
    if code is not None:
        wait([reading], START_TIMEOUT_S)  # read the rest of its output
    why = f"did not listen within {START_TIMEOUT_S} s" if code is None else f"ended with exit code {code}"
    died = PortTaken if any("address already in use" in line for line in lines) else RuntimeDied
    raise died("\n".join([f"Lambda's runtime emulator {why}; its output:", *lines]))


def _listening(pid: int) -> set[int]:
    """Return the ports on which this process listens.

    Connecting to a port would not prove that this process owns it.
    """
    sockets = set()
    with contextlib.suppress(OSError):  # the process ended
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # it closed the descriptor
                sockets.add(str(descriptor.readlink()))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    owned = [row for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]  # 0A: LISTEN
    return {int(row[1].rpartition(":")[2], 16) for row in owned}


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
