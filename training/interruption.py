"""End programs with one line instead of a traceback: after an interruption, and for errors that users can solve."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

EXIT_CODE = 128 + signal.SIGINT  # what shells report for a program that Ctrl-C ended
SIGNALS = (signal.SIGINT, signal.SIGTERM)
RETRY_S = 0.1
AGAIN = "interrupted; run the same command again"


class UserError(Exception):
    """Report a problem that the user can solve; the message names the value, what was expected and what to do next."""


def report_in_one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a `UserError` or an interruption in one line, also during imports; a `sys.excepthook`."""
    if issubclass(kind, KeyboardInterrupt):
        print(f"\n{AGAIN}", file=sys.stderr)
    elif issubclass(kind, UserError):
        print(error, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def repeat_if_swallowed(unraisable: "sys.UnraisableHookArgs") -> None:
    """Interrupt again if a `__del__` swallowed the interruption; a `sys.unraisablehook`.

    Other exceptions in a `__del__`, such as those of an incomplete data loader, are not printed.
    """
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, RETRY_S)


@contextmanager
def exit_when_interrupted(describe: Callable[[], str] = lambda: AGAIN) -> Iterator[None]:
    """On SIGINT or SIGTERM, leave all `with` statements inside, print the description if there is one, and exit.

    A second signal is ignored, because it would interrupt the cleanup. Forked workers ignore SIGINT, because
    Ctrl-C sends it to them as well, and the main process ends them with SIGTERM.
    """
    main_process, is_interrupted = os.getpid(), False

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal is_interrupted
        if os.getpid() == main_process:
            is_interrupted = True
            sys.unraisablehook = repeat_if_swallowed
            for other in SIGNALS:
                signal.signal(other, signal.SIG_IGN)
            raise KeyboardInterrupt
        if number == signal.SIGTERM:
            os._exit(EXIT_CODE)

    handlers = {number: signal.signal(number, interrupt) for number in (*SIGNALS, signal.SIGALRM)}
    try:
        yield
    except (Exception, KeyboardInterrupt):  # torch.save replaces KeyboardInterrupt with a RuntimeError
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # a retry that is due later would end the process
        if not is_interrupted:
            raise
        if line := describe():
            print(f"\n{line}", file=sys.stderr)
        raise SystemExit(EXIT_CODE) from None
    finally:
        for number, handler in handlers.items():
            if not (is_interrupted and number == signal.SIGALRM):  # objects may still be finalized at exit
                signal.signal(number, handler)
