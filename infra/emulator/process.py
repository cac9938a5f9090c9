"""Run commands, and containers and processes that stop with all their descendants when the context ends."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from infra import ROOT


class CommandFailed(Exception):
    """A command failed. The message ends with its standard error."""


def run_command(*command: str | Path, timeout_s: float | None = None) -> str:
    """Run a command in the repository and return its output. Raise `CommandFailed` if it fails or takes too long."""
    text = " ".join(map(str, command))
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{text} took more than {timeout_s} s") from error
    if done.returncode:
        raise CommandFailed(f"{text} exited with {done.returncode}: {done.stderr[-3000:].strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raise SystemExit for SIGTERM and SIGHUP, so that `finally` blocks run, as for Ctrl-C."""
    signals = (signal.SIGTERM, signal.SIGHUP)
    previous = [signal.signal(number, lambda number, _: sys.exit(128 + number)) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, previous, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def detached_container(*arguments: str | Path) -> Iterator[str]:
    """Run a container with these arguments of `docker run`, and yield its ID. Raise `CommandFailed` if Docker fails."""
    with terminable():
        container = run_command("docker", "run", "--detach", *arguments)
        try:
            yield container
        finally:
            run_command("docker", "rm", "--force", "--volumes", container)


def read_container_log(container: str) -> str:
    """Return what a container has written to its output and error."""
    return run_command("sh", "-c", f"docker logs {container} 2>&1")


@contextlib.contextmanager
def session(command: Sequence[str], *, cwd: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run the command in its own session. Ctrl-C does not reach it, and its descendants have its session ID."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    """Send SIGTERM, on which the RIE kills its runtime, then kill the remaining processes of the session."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=2)
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(int(entry.name)) == process.pid:
                os.kill(int(entry.name), signal.SIGKILL)
    process.wait()
