"""The function with its telemetry and without, in turns, in one process: `python overhead.py TURNS < EVENT`.

The last line of the output is JSON: microseconds of each request, both ways, and of the telemetry's two parts in it.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from lambda_app import prediction_record as prediction
from lambda_app.handler import handler
from lambda_app.telemetry.request_log import Telemetry

REQUESTS = 25  # in a turn
UNCOUNTED = 2  # turns before it is warm


def main() -> None:
    event = json.load(sys.stdin)
    times: dict[str, list[float]] = {"with": [], "without": [], "signals": [], "record": []}
    ask = clocked(answered, times["with"]), clocked(answered, times["without"])
    signals, finish = (
        clocked(prediction.measure_signals, times["signals"]),
        clocked(Telemetry.finish, times["record"]),
    )
    for _ in range(UNCOUNTED + int(sys.argv[1])):
        with patch.object(prediction, "measure_signals", signals), patch.object(Telemetry, "finish", finish):
            for _ in range(REQUESTS):
                ask[0](event)
        with (
            patch.object(prediction, "measure_signals", lambda *_: {}),
            patch.object(Telemetry, "finish", lambda *_: None),
        ):
            for _ in range(REQUESTS):
                ask[1](event)
    print(json.dumps({name: found[UNCOUNTED * REQUESTS :] for name, found in times.items()}))


def clocked(function: Callable[..., Any], times: list[float]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        began = time.perf_counter()
        result = function(*arguments)
        times.append((time.perf_counter() - began) * 1e6)
        return result

    return call


def answered(event: dict[str, Any]) -> None:
    status = handler(event, None)["statusCode"]
    if status != 200:  # a fast failure must not count as a fast response
        sys.exit(f"overhead.py: the function answered {status}; expected 200")


if __name__ == "__main__":
    main()
