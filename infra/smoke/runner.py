"""Run checks one after the other, starting with a health check that waits for the service."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from infra.smoke.messages import NoAnswer

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
LIMIT_S = 300.0  # for the checks after the health check; a healthy service takes seconds

Pair = tuple[dict[str, Any], dict[str, Any]]  # expected and actual


@dataclass(frozen=True)
class Check:
    name: str
    compare: Callable[[], Pair]  # sends the requests; the check passes if both dictionaries are equal


@dataclass(frozen=True)
class CheckResult:
    """The result of one check."""

    check: str
    passed: bool
    seconds: float
    expected: dict[str, Any]
    actual: dict[str, Any]


def run_checks(health: Check, checks: Iterable[Check], *, wait_s: float) -> Iterator[CheckResult]:
    """Yield one result per check as soon as it is known.

    Yield only the result of `health` if that check does not pass within `wait_s`. Checks that would start `LIMIT_S`
    later fail without sending a request.
    """
    healthy = _wait_until_passed(health, wait_s)
    deadline = time.monotonic() + LIMIT_S
    yield healthy
    for check in checks if healthy.passed else ():
        if time.monotonic() > deadline:
            reason = {"not run": f"the checks before took more than {LIMIT_S:.0f} s"}
            yield CheckResult(check.name, False, 0, {}, reason)
        else:
            yield _run(check)


def _wait_until_passed(check: Check, wait_s: float) -> CheckResult:
    """Repeat a check with exponential backoff until it passes or `wait_s` is over.

    Return the last result, with the time of all attempts.
    """
    started, pause = time.monotonic(), FIRST_PAUSE_S
    while True:
        result = _run(check)
        waited = time.monotonic() - started
        if result.passed or waited + pause > wait_s:
            return replace(result, seconds=waited)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


def _run(check: Check) -> CheckResult:
    started = time.monotonic()
    try:
        expected, actual = check.compare()
    except NoAnswer as error:
        expected, actual = {}, {"no answer": str(error)}
    except Exception as error:  # a broken service can answer anything, and each check must yield a row
        expected, actual = {}, {"unexpected answer": f"{type(error).__name__}: {error}"}
    return CheckResult(check.name, expected == actual, time.monotonic() - started, expected, actual)
