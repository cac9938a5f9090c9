"""Wait for another thread or process. Only a broken program reaches the deadline."""

import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

DEADLINE_S = 600
BUILD_SECONDS = 1800  # for all images, without cached layers: 90 measured
Result = TypeVar("Result")


def wait_until(condition: Callable[[], Result]) -> Result:
    """Return the first true result of `condition`. Fail after `DEADLINE_S`."""
    deadline = time.monotonic() + DEADLINE_S
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not true within {DEADLINE_S} seconds: {condition}"
        time.sleep(0.02)
    return result


def acquire(semaphore: threading.Semaphore, count: int = 1) -> None:
    """Acquire a semaphore `count` times. Fail after `DEADLINE_S`."""
    assert all(semaphore.acquire(timeout=DEADLINE_S) for _ in range(count))


def wait_for_output(process: subprocess.Popen[str], output: Path, pattern: str) -> str:
    """Return the first group of `pattern` in the output of a process. Fail if the process ends before."""

    def search() -> re.Match[str] | None:
        has_ended = process.poll() is not None  # before reading, so that the last output counts
        found = re.search(pattern, output.read_text(errors="replace"))
        assert found or not has_ended, f"the process ended without {pattern!r}:\n{output.read_text()[-2000:]}"
        return found

    found = wait_until(search)
    assert found
    return found[1]
