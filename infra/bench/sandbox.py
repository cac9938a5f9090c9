"""Run a cold function with one CPU: in a restricted container of 1 GB, or without Docker in a process on one core.

Both run AWS's Runtime Interface Emulator (RIE), which starts the function's Python at the first invocation. The
emulator does not measure the values "Init Duration" and "Max Memory Used" that it logs. It measures the durations of
"INIT REPORT" and "INVOKE RTDONE", which correspond to those that Lambda bills.
"""

import contextlib
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2

from infra import ROOT
from infra.bench.candidates import FUNCTION_IMAGE, Candidate
from infra.bench.hardware import last_core, read_peak_mb
from infra.emulator.invoke import invoke_url
from infra.emulator.process import CommandFailed, detached_container, read_container_log, run_command
from infra.emulator.runtime import RuntimeDied, RuntimeNotFound, find_rie, lambda_runtime

LIMITS = ("--cpus", "1", "--memory", "1g", "--memory-swap", "1g", "--read-only", "--tmpfs", "/tmp")  # noqa: S108  # inside the container
RESTRICTIONS = ("--user", "10001", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
PORT = 8080
TIMEOUT_S = 60
INIT = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)\)")
INVOKE = re.compile(r"INVOKE RTDONE\(status: success, produced bytes: \d+, duration: ([\d.]+)ms\)")


class SandboxError(Exception):
    """The function did not start or respond as expected. The message contains its output."""


LAUNCH_ERRORS = (SandboxError, CommandFailed, RuntimeNotFound, RuntimeDied)


@dataclass(frozen=True)
class Sandbox:
    """A running function behind Lambda's Invoke API, which takes one invocation at a time."""

    client: httpx2.Client
    url: str
    output: Callable[[], str]
    pid: int  # process ID of the emulator

    def invoke(self, payload: bytes) -> tuple[bytes, float]:
        """Return the response, and the milliseconds that it took as the client measures them."""
        start = time.perf_counter()
        try:
            response = self.client.post(self.url, content=payload)
        except httpx2.TransportError as error:  # out of memory, or too slow
            raise SandboxError(f"no response: {error!r}; its output:\n{self.output()[-3000:]}") from error
        return response.content, (time.perf_counter() - start) * 1000

    def init_ms(self) -> float:
        """Return the duration of the INIT phase."""
        match = INIT.search(self.output())
        if not match:
            raise SandboxError(f"the emulator logged no INIT REPORT; its output:\n{self.output()[-3000:]}")
        return float(match[1])

    def durations_ms(self, invocations: int) -> list[float]:
        """Return the milliseconds of each invocation, in order. Lambda bills them rounded up.

        Docker may write the log lines of an invocation after its response, so wait for those of all invocations.
        """
        deadline = time.monotonic() + TIMEOUT_S
        while len(found := INVOKE.findall(self.output())) < invocations:
            if time.monotonic() > deadline:
                raise SandboxError(f"the emulator logged {len(found)} of {invocations} successful invocations")
            time.sleep(0.02)
        return [float(ms) for ms in found]

    def peak_rss_mb(self) -> float:
        """Return the peak resident memory of the function's process, including shared libraries."""
        return read_peak_mb(self._function_pid())

    def rss_mb(self) -> float:
        """Return the resident memory of the function's process."""
        return self._read_proc("status", r"VmRSS:\s+(\d+) kB") * 1024 / 1e6

    def read_mb(self) -> float:
        """Return how much the function's process has read from the disk. Requires root."""
        return self._read_proc("io", r"^read_bytes: (\d+)") / 1e6

    def _read_proc(self, file: str, pattern: str) -> int:
        match = re.search(pattern, Path(f"/proc/{self._function_pid()}/{file}").read_text(), re.MULTILINE)
        assert match  # the kernel writes these lines for every process that is not a zombie
        return int(match[1])

    def _function_pid(self) -> int:
        """Return the process ID of the function, the only child of the emulator."""
        children = Path(f"/proc/{self.pid}/task").glob("*/children")
        found = [int(child) for file in children for child in file.read_text().split()]
        if len(found) != 1:
            raise SandboxError(f"the emulator has {len(found)} child processes, expected 1:\n{self.output()[-3000:]}")
        return found[0]


def has_docker() -> bool:
    """Return whether `docker info` succeeds.

    The engine must be local, because `/proc` must show the processes of its containers. This is not checked.
    """
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def container(candidate: Candidate) -> Iterator[Sandbox]:
    """Run a new container of the candidate's image, without capabilities or a writable disk, as in Lambda."""
    emulator = ("--volume", f"{find_rie()}:/rie:ro", "--entrypoint", "/rie")
    options = (*LIMITS, *RESTRICTIONS, *_candidate_options(candidate), *emulator)
    function = ("/usr/bin/python3", "-m", "awslambdaric", candidate.handler)
    with detached_container(*options, candidate.image, "--log-level", "info", *function) as container_id:
        yield from _connect(container_id)


def _connect(container_id: str) -> Iterator[Sandbox]:
    """Yield the sandbox of a container as soon as its emulator listens."""
    fields = "{{.State.Pid}} {{.NetworkSettings.Networks.bridge.IPAddress}}"
    pid, _, address = run_command("docker", "inspect", "--format", fields, container_id).partition(" ")
    if pid == "0":
        raise SandboxError(f"the container exited at start:\n{read_container_log(container_id)[-3000:]}")
    with _client() as client:
        url = f"http://{address}:{PORT}"
        _wait_until_listening(client, url)
        yield Sandbox(client, invoke_url(url), lambda: read_container_log(container_id), int(pid))


@contextlib.contextmanager
def process(candidate: Candidate) -> Iterator[Sandbox]:
    """Run a new process with the current Python, pinned to one core, without a memory limit."""
    env = {"PYTHONPATH": f"{candidate.task}:{ROOT}", "GLIBC_TUNABLES": read_malloc_settings(), **candidate.env}
    if not candidate.bytecode:  # ignore bytecode, also that of installed packages
        env |= {"PYTHONPYCACHEPREFIX": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    task = candidate.task if candidate.files else ROOT
    with (
        lambda_runtime(candidate.handler, env=env, task=task, log_level="info", core=last_core()) as runtime,
        _client() as client,
    ):
        yield Sandbox(client, invoke_url(runtime.endpoint), lambda: "\n".join(runtime.lines), runtime.pid)


def read_malloc_settings() -> str:
    """Return the settings of malloc in the image."""
    found = re.search(r"^ENV GLIBC_TUNABLES=(\S+)", (ROOT / "Dockerfile.lambda").read_text(), re.MULTILINE)
    assert found  # without them, container and process would differ
    return found[1]


def _candidate_options(candidate: Candidate) -> Iterator[str]:
    """Yield the Docker options that mount the files of a candidate and set its environment."""
    if candidate.image == FUNCTION_IMAGE and candidate.files:
        yield from ("--volume", f"{candidate.task}:/peer:ro", "--workdir", "/peer")
        yield from ("--env", "PYTHONPATH=/opt/python:/var/task")
    for name, value in candidate.env.items():
        yield from ("--env", f"{name}={value}")


def _client() -> httpx2.Client:
    return httpx2.Client(trust_env=False, timeout=TIMEOUT_S, headers={"content-type": "application/json"})


def _wait_until_listening(client: httpx2.Client, url: str) -> None:
    """Wait until the emulator listens. A GET of an unknown path does not start the function."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx2.TransportError):
            client.get(url)
            return
        time.sleep(0.02)
    raise SandboxError(f"{url}: no server listens after {TIMEOUT_S} s")
