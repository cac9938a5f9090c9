"""Run checks one after the other, starting with a health check that waits for the service."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from infra.smoke.messages import NoAnswer

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
LIMIT_S = 300.0  # for all checks together; a healthy service takes seconds

Pair = tuple[dict[str, Any], dict[str, Any]]  # expected and actual


@dataclass(frozen=True)
class Check:
    name: str
    compare: Callable[[], Pair]  # sends the requests; the check passes if both dictionaries are equal


@dataclass(frozen=True)
class Row:
    """The result of one check."""

    check: str
    passed: bool
    seconds: float
    expected: dict[str, Any]
    actual: dict[str, Any]


def run_checks(health: Check, checks: Iterable[Check], *, wait_s: float, limit_s: float = LIMIT_S) -> Iterator[Row]:
    """Yield one row per check as soon as it is known.

    Yield only the row of `health` if that check does not pass within `wait_s`. Checks that would start after `limit_s`
    fail without sending a request.
    """
    deadline = time.monotonic() + limit_s
    healthy = _wait_until_passed(health, min(wait_s, limit_s))
    yield healthy
    for check in checks if healthy.passed else ():
        if time.monotonic() > deadline:
            yield Row(check.name, False, 0, {}, {"not asked": f"all checks together took more than {limit_s:.0f} s"})
        else:
            yield _run(check)


def _wait_until_passed(check: Check, wait_s: float) -> Row:
    """Retry with exponential backoff. The row's time is the whole wait."""
    started, pause = time.monotonic(), FIRST_PAUSE_S
    while True:
        row = _run(check)
        waited = time.monotonic() - started
        if row.passed or waited + pause > wait_s:
            return Row(row.check, row.passed, waited, row.expected, row.actual)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


def _run(check: Check) -> Row:
    started = time.monotonic()
    expected, actual = _compare(check)
    return Row(check.name, expected == actual, time.monotonic() - started, expected, actual)


def _compare(check: Check) -> Pair:
    try:
        return check.compare()
    except NoAnswer as error:
        return {}, {"no answer": str(error)}
    except Exception as error:  # a broken service can answer anything, and each check must yield a row
        return {}, {"unexpected answer": f"{type(error).__name__}: {error}"}
