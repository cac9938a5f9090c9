"""One cold function with one CPU and 1 GB: in a locked-down container, or without Docker as a process on one core.

Both run AWS's Runtime Interface Emulator (RIE), which starts the function's Python at the first invocation. Of what it
logs, "Init Duration" and "Max Memory Used" are made up; INIT REPORT and INVOKE RTDONE are measured, and are what Lambda
bills.
"""

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2

from infra.bench.candidates import OURS, Candidate
from infra.emulator.invoke import invoke_url
from infra.emulator.process import terminable
from infra.emulator.runtime import ROOT, find_rie, lambda_runtime

LIMITS = ("--cpus", "1", "--memory", "1g", "--memory-swap", "1g", "--read-only", "--tmpfs", "/tmp")  # noqa: S108  # inside
RIGHTS = ("--user", "10001", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
PORT = 8080
TIMEOUT_S = 60
INIT = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)\)")
INVOKE = re.compile(r"INVOKE RTDONE\(status: success, produced bytes: \d+, duration: ([\d.]+)ms\)")


class SandboxError(Exception):
    """The function did not start or answer; the message carries its output."""


@dataclass(frozen=True)
class Sandbox:
    """Behind Lambda's Invoke API; one invocation at a time."""

    client: httpx2.Client
    url: str
    output: Callable[[], str]
    pid: int  # of the emulator

    def invoke(self, payload: bytes) -> tuple[bytes, float]:
        """The answer, and the milliseconds it took from outside."""
        began = time.perf_counter()
        try:
            reply = self.client.post(self.url, content=payload)
        except httpx2.TransportError as error:  # killed for its memory, or too slow
            raise SandboxError(f"no answer: {error!r}; its output:\n{self.output()[-3000:]}") from error
        return reply.content, (time.perf_counter() - began) * 1000

    def init_ms(self) -> float:
        found = INIT.search(self.output())
        if not found:
            raise SandboxError(f"the emulator reported no initialisation; its output:\n{self.output()[-3000:]}")
        return float(found[1])

    def billed_ms(self) -> list[float]:
        """Of every invocation, in order."""
        return [float(ms) for ms in INVOKE.findall(self.output())]

    def peak_rss_mb(self) -> float:
        """The most memory that the function's process ever held, shared libraries included."""
        status = Path(f"/proc/{self._function()}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found  # the kernel writes it for every process that is not a zombie
        return int(found[1]) * 1024 / 1e6

    def rss_mb(self) -> float:
        status = Path(f"/proc/{self._function()}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found  # as above
        return int(found[1]) * 1024 / 1e6

    def read_mb(self) -> float:
        """What the function's process made the disk read; needs root."""
        found = re.search(r"^read_bytes: (\d+)", Path(f"/proc/{self._function()}/io").read_text(), re.MULTILINE)
        assert found  # as above
        return int(found[1]) / 1e6

    def _function(self) -> int:
        """The emulator's only child."""
        children = Path(f"/proc/{self.pid}/task").glob("*/children")
        found = [int(child) for file in children for child in file.read_text().split()]
        if len(found) != 1:
            raise SandboxError(f"the emulator has {len(found)} child processes, expected 1:\n{self.output()[-3000:]}")
        return found[0]


def has_docker() -> bool:
    """An engine on this machine: the processes of its containers are looked at in /proc."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def container(candidate: Candidate) -> Iterator[Sandbox]:
    """A fresh container of the candidate's image, without capabilities or a writable disk, as in Lambda."""
    emulator = ("--volume", f"{find_rie()}:/rie:ro", "--entrypoint", "/rie")
    run = ("docker", "run", "--detach", *LIMITS, *RIGHTS, *_own(candidate), *emulator)
    function = ("/usr/bin/python3", *candidate.flags, "-m", "awslambdaric", candidate.handler)
    with terminable():
        started = _docker(*run, candidate.image, "--log-level", "info", *function)
        try:
            yield from _listening(started)
        finally:
            _docker("docker", "rm", "--force", started)


def _listening(started: str) -> Iterator[Sandbox]:
    fields = "{{.State.Pid}} {{.NetworkSettings.Networks.bridge.IPAddress}}"
    pid, _, address = _docker("docker", "inspect", "--format", fields, started).partition(" ")
    if pid == "0":
        raise SandboxError(f"the container ended at once:\n{_docker('docker', 'logs', started)[-3000:]}")
    with _client() as client:
        url = f"http://{address}:{PORT}"
        _wait(client, url)
        yield Sandbox(client, invoke_url(url), lambda: _docker("docker", "logs", started), int(pid))


@contextlib.contextmanager
def process(candidate: Candidate) -> Iterator[Sandbox]:
    """The same without Docker: pinned to one core, memory unlimited, by the Python that runs this."""
    env = {"PYTHONPATH": f"{candidate.task}:{ROOT}", "GLIBC_TUNABLES": malloc(), **candidate.env}
    if not candidate.bytecode:  # neither read nor written, also for the installed packages
        env |= {"PYTHONPYCACHEPREFIX": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    task = candidate.task if candidate.files else ROOT
    core = str(max(os.sched_getaffinity(0)))
    with (
        lambda_runtime(candidate.handler, env=env, task=task, log_level="info", core=core) as runtime,
        _client() as client,
    ):
        yield Sandbox(client, invoke_url(runtime.endpoint), lambda: "\n".join(runtime.lines), runtime.pid)


def malloc() -> str:
    """As the image sets it."""
    found = re.search(r"^ENV GLIBC_TUNABLES=(\S+)", (ROOT / "Dockerfile.lambda").read_text(), re.MULTILINE)
    assert found  # else the two modes would measure different functions
    return found[1]


def _own(candidate: Candidate) -> Iterator[str]:
    """What a candidate in our image brings along: its task, its environment."""
    if candidate.image == OURS and candidate.files:
        yield from ("--volume", f"{candidate.task}:/peer:ro", "--workdir", "/peer")
        yield from ("--env", "PYTHONPATH=/opt/python:/var/task")
    for name, value in candidate.env.items():
        yield from ("--env", f"{name}={value}")


def _client() -> httpx2.Client:
    return httpx2.Client(trust_env=False, timeout=TIMEOUT_S, headers={"content-type": "application/json"})


def _wait(client: httpx2.Client, url: str) -> None:
    """Until the emulator listens; asking for a page that it has not starts nothing."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx2.TransportError):
            client.get(url)
            return
        time.sleep(0.02)
    raise SandboxError(f"{url}: nothing listens after {TIMEOUT_S} s")


def _docker(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SandboxError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return (done.stdout + done.stderr).strip() if command[1] == "logs" else done.stdout.strip()
