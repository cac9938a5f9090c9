"""A training that ends itself with SIGKILL: `python -m tests.training.cut_off EVENT…`, once these came in this order.

The events are the interpreter's own (PEP 578), so that the training is the real one and the moment always the same.
"""

import os
import re
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

EVENTS = {
    "photo": r"open \('.*\.jpg', 'rb?'",  # is read
    "state": r"os.rename \(.*training\.partial",  # is written, but does not count yet
    "torn": r"os.rename \(.*training\.partial",  # only half of it is written
    "end": r"os.remove \(.*training\.pt",  # the checkpoint is kept, the state not yet removed
}


class CutOff:
    """An audit hook that waits for one event after the other."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.events or not re.match(EVENTS[self.events[0]], f"{event} {arguments}"):
            return
        last = self.events.pop(0)
        if self.events:
            return  # else this was the last, and os.kill is an event too
        if last == "torn":
            os.truncate(arguments[0], Path(arguments[0]).stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.addaudithook(CutOff(sys.argv[1:]))
    sys.argv = ["training.train"]
    runpy.run_module("training.train", run_name="__main__")
