"""Lambda's own runtime on this machine, without Docker: AWS's Runtime Interface Emulator (RIE) runs the handler.

The RIE comes inside aws-sam-cli. It starts `python -m awslambdaric HANDLER`, as the container image does, and serves
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
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.process import session, terminable

ROOT = Path(__file__).parents[2]
FUNCTION_TIMEOUT_S = 15  # as in template.yaml
START_TIMEOUT_S = 10
# Not worth showing: the durations and the memory in the emulator's reports are not measured.
EMULATOR_LINE = re.compile(r"(START|END|REPORT) RequestId: ")


class RuntimeNotFound(Exception):
    """The emulator is not installed; the message says where it was looked for and what installs it."""


class RuntimeDied(Exception):
    """The emulator ended or never listened; the message carries its output."""


@dataclass(frozen=True)
class Runtime:
    endpoint: str
    pid: int
    lines: list[str]  # the output of emulator and handler so far; grows from a thread

    def log_line(self, wanted: Callable[[dict[str, Any]], bool], *, wait_s: float = 2) -> str | None:
        """The last JSON object on the output that is `wanted`; it may come a moment after the answer."""
        deadline = time.monotonic() + wait_s
        while True:
            found = [line for line in self.lines if (record := _json_object(line)) and wanted(record)]
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
    """The handler behind Lambda's Invoke API on a free port, until the context ends; then no process of it is left.

    `timeout_s` is the function's timeout, `echo` prints the handler's output as it comes, `task` is the folder that the
    handler is imported from, `log_level` the emulator's, and `core` the only one that may be used.
    """
    port, api_port = _free_ports()
    addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
    addresses += ["--runtime-api-address", f"127.0.0.1:{api_port}"]
    program = [sys.executable, "-m", "awslambdaric", handler]
    pinned = ["taskset", "--cpu-list", core] if core else []
    command = [*pinned, str(find_rie()), "--log-level", log_level, *addresses, *program]
    environment = _environment(handler, timeout_s) | {"LAMBDA_TASK_ROOT": str(task)} | (env or {})
    with terminable(), session(command, cwd=task, env=environment) as process:
        runtime = Runtime(f"http://127.0.0.1:{port}", process.pid, [])
        reader = threading.Thread(target=_read, args=(process, runtime.lines), kwargs={"echo": echo}, daemon=True)
        reader.start()
        _wait_until_listening(process, port, reader, runtime.lines)
        yield runtime


def find_rie() -> Path:
    if platform.system() != "Linux":
        raise RuntimeNotFound(f"{platform.system()}: expected Linux, which AWS's Runtime Interface Emulator needs")
    machine = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64")
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
    """As https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html; what is missing here the RIE sets."""
    return os.environ | {
        "_HANDLER": handler,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",  # as in template.yaml
        "AWS_LAMBDA_FUNCTION_NAME": "pet-classifier",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_s),  # the RIE's alone
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
    process: subprocess.Popen[str], port: int, reader: threading.Thread, lines: list[str]
) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    code = process.poll()
    reader.join(timeout=1)
    why = f"did not listen within {START_TIMEOUT_S} s" if code is None else f"ended with exit code {code}"
    raise RuntimeDied("\n".join([f"Lambda's runtime emulator {why}; its output:", *lines]))


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
