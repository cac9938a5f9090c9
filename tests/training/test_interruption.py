"""Tests of interrupted trainings: one line of output, no traceback, and no surviving process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.processes import ENVIRONMENT, copy_prepared
from training.interruption import EXIT_CODE

DEADLINE_S = 300


def start(folder: Path) -> subprocess.Popen[str]:
    """Train in a process group of its own, as a terminal starts it."""
    command = (sys.executable, "-m", "training.train")
    with (folder / "output.txt").open("w") as log:
        return subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdout=log, stderr=log, text=True, process_group=0
        )


def wait_for(condition) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def group_is_empty(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_prints_one_line(trained, tmp_path, number):
    """A signal to the group ends training and its workers; the output names the last epoch and the next command."""
    endless = dict.fromkeys(("train__epochs", "train__patience", "train__perfect_epochs"), 5000)
    folder = copy_prepared(trained, tmp_path / "project", train__workers=2, **endless)
    training = start(folder)
    output = folder / "output.txt"
    wait_for(lambda: "val_loss" in output.read_text() or training.poll() is not None)
    os.killpg(training.pid, number)
    assert EXIT_CODE == training.wait(DEADLINE_S), output.read_text()
    wait_for(lambda: group_is_empty(training.pid))
    text = output.read_text()
    assert "Traceback" not in text
    assert 1 == text.count("interrupted after epoch ")
    assert text.rstrip().endswith("; run the same command to resume")
