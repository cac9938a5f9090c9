"""Asks one check after the other, first of all and for as long as it takes whether the service is healthy."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from infra.smoke.answers import Ask, Check, NoAnswer
from infra.smoke.checks import health

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
LIMIT_S = 300.0  # for all checks together; a good service takes seconds


@dataclass(frozen=True)
class Row:
    check: str
    passed: bool
    seconds: float
    expected: dict[str, Any]
    actual: dict[str, Any]


def smoke(ask: Ask, checks: Iterable[Check], *, wait_s: float, limit_s: float = LIMIT_S) -> Iterator[Row]:
    """A row for each check, as it is known; the one for health alone where that does not come within `wait_s`."""
    ends = time.monotonic() + limit_s
    healthy = _wait(Check("GET /health", lambda: health(ask)), min(wait_s, limit_s))
    yield healthy
    for check in checks if healthy.passed else ():
        if time.monotonic() > ends:
            yield Row(check.name, False, 0, {}, {"not asked": f"all checks together took more than {limit_s:.0f} s"})
        else:
            yield _row(check)


def _wait(check: Check, wait_s: float) -> Row:
    """Exponential back-off; the row's time is all that was waited."""
    began, pause = time.monotonic(), FIRST_PAUSE_S
    while True:
        row = _row(check)
        waited = time.monotonic() - began
        if row.passed or waited + pause > wait_s:
            return Row(row.check, row.passed, waited, row.expected, row.actual)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


def _row(check: Check) -> Row:
    began = time.monotonic()
    expected, actual = _compared(check)
    return Row(check.name, expected == actual, time.monotonic() - began, expected, actual)


def _compared(check: Check) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        return check.compare()
    except NoAnswer as error:
        return {}, {"no answer": str(error)}
    except Exception as error:  # what a broken service can answer has no end, and each is a row, never a traceback
        return {}, {"unexpected answer": f"{type(error).__name__}: {error}"}
