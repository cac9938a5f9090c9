"""Test interruptions and errors that users can fix: one line, no traceback, and no surviving process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import DEADLINE_S, wait_for_output, wait_until
from tests.training.interrupt_workers import SENT
from tests.training.processes import ENVIRONMENT, copy_prepared
from training.interruption import EXIT_CODE


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Run `python -m ARGUMENTS…` in a process group of its own, as a terminal starts it."""
    command = (sys.executable, "-m", *arguments)
    with (folder / "output.txt").open("w") as log:
        return subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT, stdout=log, stderr=log, text=True, process_group=0
        )


def group_is_empty(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("package", ["training", "export"])
def test_user_error_prints_only_its_message(tmp_path, package):
    """A program of either package that raises `UserError` prints the message without a traceback, and exits with 1."""
    program = f"import {package}; from training.interruption import UserError; raise UserError('name another file')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert (1, "", "name another file\n") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_prints_one_line(trained, tmp_path, number):
    """A signal to the group ends training and its workers; the output names the last epoch and the next command."""
    endless = dict.fromkeys(("train__epochs", "train__patience", "train__perfect_epochs"), 5000)
    folder = copy_prepared(trained, tmp_path / "project", train__workers=2, **endless)
    training = start(folder, "training.train")
    output = folder / "output.txt"
    wait_for_output(training, output, "(val_loss)")
    os.killpg(training.pid, number)
    assert EXIT_CODE == training.wait(DEADLINE_S), output.read_text()
    wait_until(lambda: group_is_empty(training.pid))
    text = output.read_text()
    assert "Traceback" not in text
    assert 1 == text.count("interrupted after epoch ")
    assert text.rstrip().endswith("; run the same command to resume")


@pytest.mark.parametrize(
    "command",
    ["training.prepare", "training.dry_run", "training.harvest.__main__ contributed --out review"],
)
def test_interrupted_workers_print_nothing(trained, tmp_path, command):
    """Ctrl-C while workers open photos ends the command with one line; workers print no traceback, and all end."""
    folder = copy_prepared(trained, tmp_path / "project")
    (folder / "data/datasets.yaml").write_text("{}")
    (folder / "contributed").mkdir()
    running = start(folder, "tests.training.interrupt_workers", *command.split())
    code = running.wait(DEADLINE_S)
    wait_until(lambda: group_is_empty(running.pid))
    text = (folder / "output.txt").read_text()
    assert (EXIT_CODE, True) == (code, (folder / SENT).exists()), text
    assert "Traceback" not in text
    assert 1 == text.count("interrupted")
    assert text.splitlines()[-1].startswith("interrupted; run the same command again")
