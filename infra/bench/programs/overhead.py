"""Time requests with and without telemetry, interleaved, in one process: `python overhead.py TURNS < EVENT`.

The last line of the output is JSON with the microseconds of each request of either kind, and of the two parts of
telemetry in each request with telemetry.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from lambda_app.handler import handler
from lambda_app.signals import measure_signals
from lambda_app.telemetry.request_log import Telemetry

SIGNALS = "lambda_app.prediction_record.measure_signals"
REQUESTS = 25  # per turn
UNCOUNTED = 2  # turns that warm up


def main() -> None:
    event = json.load(sys.stdin)
    times: dict[str, list[float]] = {"with": [], "without": [], "signals": [], "record": []}
    ask_with, ask_without = timed(answer, times["with"]), timed(answer, times["without"])
    signals = timed(measure_signals, times["signals"])
    finish = timed(Telemetry.finish, times["record"])
    for _ in range(UNCOUNTED + int(sys.argv[1])):
        with patch(SIGNALS, signals), patch.object(Telemetry, "finish", finish):
            for _ in range(REQUESTS):
                ask_with(event)
        with (
            patch(SIGNALS, lambda *_: {}),
            patch.object(Telemetry, "finish", lambda *_: None),
        ):
            for _ in range(REQUESTS):
                ask_without(event)
    print(json.dumps({name: found[UNCOUNTED * REQUESTS :] for name, found in times.items()}))


def timed(function: Callable[..., Any], times: list[float]) -> Callable[..., Any]:
    """Return the function with a clock, which appends the microseconds of each call to `times`."""

    def call(*arguments: Any) -> Any:
        began = time.perf_counter()
        result = function(*arguments)
        times.append((time.perf_counter() - began) * 1e6)
        return result

    return call


def answer(event: dict[str, Any]) -> None:
    status = handler(event, None)["statusCode"]
    if status != 200:  # a fast failure must not count as a fast response
        sys.exit(f"overhead.py: the function answered {status}; expected 200")


if __name__ == "__main__":
    main()
