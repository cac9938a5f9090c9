"""Run a command of training that a worker process interrupts, as Ctrl-C does, when it opens a photo.

`python -m tests.training.interrupt_workers MODULE ARGUMENT…` runs the `main` of a module. The first worker that opens a
photo sends SIGINT to the process group. It learns of the event from an audit hook (PEP 578), which workers inherit, so
that the moment is always the same.
"""

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

SENT = Path("sent")
MAIN_PROCESS = os.getpid()


def interrupt(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and str(arguments[0]).endswith(".jpg") and os.getpid() != MAIN_PROCESS and not SENT.exists():
        SENT.touch()
        os.killpg(0, signal.SIGINT)


if __name__ == "__main__":
    del sys.argv[0]
    sys.addaudithook(interrupt)
    importlib.import_module(sys.argv[0]).main()
