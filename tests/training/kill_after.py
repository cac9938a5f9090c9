"""Run trainings that kill themselves with SIGKILL after a sequence of events.

`python -m tests.training.kill_after EVENT…` trains in the working directory. Without arguments, standard input is a
JSON object of folders with their events. Each trains in a fork of this process, so that PyTorch and MLflow are imported
once, and writes to FOLDER/output.txt. Prints a JSON object of folders with their exit codes.

The events are audit events of the interpreter (PEP 578), so that training needs no hooks and the moment is always the
same.
"""

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  # imported before the forks, instead of in each of them
import torch._dynamo  # noqa: F401

from training import train

EVENTS = {
    "photo": r"open \('.*\.jpg', 'rb?'",  # a photo is read
    "state": r"os.rename \(.*training\.pt\.partial",  # a state is written but not yet renamed
    "torn state": r"os.rename \(.*training\.pt\.partial",  # half of a state is written
    "end": r"os.remove \(.*training\.pt",  # the checkpoint is written, the state not yet removed
}


class KillAfter:
    """An audit hook that waits for a sequence of events, then kills the process."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.events:
            return  # os.kill below raises an audit event, too
        if not re.match(EVENTS[self.events[0]], f"{event} {arguments}"):
            return
        last = self.events.pop(0)
        if self.events:
            return
        if last == "torn state":
            os.truncate(arguments[0], Path(arguments[0]).stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)


def fork(folder: str, events: list[str]) -> int:
    """Train in the folder, in a fork; return its exit code, negative for a signal."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.chdir(folder)
    output = os.open("output.txt", os.O_CREAT | os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    train_until(events)
    sys.exit()


def train_until(events: list[str]) -> None:
    sys.addaudithook(KillAfter(events))
    train.main()


if __name__ == "__main__":
    if sys.argv[1:]:
        train_until(sys.argv[1:])
    else:
        print(json.dumps({folder: fork(folder, events) for folder, events in json.load(sys.stdin).items()}))
