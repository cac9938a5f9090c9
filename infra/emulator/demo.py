"""Classify one photo as on AWS: over HTTP, through a function URL, in Lambda's runtime.

Prints the answer, the handler's log line and the times. Exits with 1 if a step fails, and 2 for an unreadable photo.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2

from infra import ROOT
from infra.emulator.event import HttpRequest, predict_request
from infra.emulator.runtime import Runtime, RuntimeDied, RuntimeNotFound, lambda_runtime
from infra.emulator.serve import background, local_app

SAMPLE = ROOT / "data/samples/cat.jpg"
WARM_REQUESTS = 9


class DemoFailed(Exception):
    """A step of the demo failed; the message is one line."""


@dataclass(frozen=True)
class Demo:
    answer: dict[str, Any]
    log_line: str
    cold_s: float  # from process start to first answer
    warm_s: float  # median of further requests


def run(request: HttpRequest) -> Demo:
    """Return the first answer and its log line, and the times of the first and of further requests."""
    started = time.perf_counter()
    with lambda_runtime() as runtime:
        listening_s = time.perf_counter() - started
        # No timeout: the URL answers within the timeout of the function.
        with (
            background(local_app(runtime)) as url,
            httpx2.Client(base_url=url, trust_env=False, timeout=None) as client,
        ):
            answer, first_s = _predict(client, request)
            warm_s = statistics.median(_predict(client, request)[1] for _ in range(WARM_REQUESTS))
            return Demo(answer, _log_line(runtime, answer), listening_s + first_s, warm_s)


def _predict(client: httpx2.Client, request: HttpRequest) -> tuple[dict[str, Any], float]:
    started = time.perf_counter()
    headers = {"content-type": dict(request.headers)["content-type"]}
    response = client.post(request.path, content=request.body, headers=headers)
    seconds = time.perf_counter() - started
    if response.status_code != HTTPStatus.OK:
        raise DemoFailed(f"POST /predict answered {response.status_code}, expected 200: {response.text.strip()}")
    return response.json(), seconds


def _log_line(runtime: Runtime, answer: dict[str, Any]) -> str:
    request_id = answer.get("request_id")
    # Metrics share the output with the log; the Embedded Metric Format marks them with "_aws".
    line = runtime.log_line(lambda record: record.get("request_id") == request_id and "_aws" not in record)
    if not line:
        raise DemoFailed(f"the handler logged no JSON line with request_id {request_id}")
    return line


def _print(demo: Demo) -> None:
    print(json.dumps(demo.answer, indent=2, ensure_ascii=False))
    print(f"\nThe handler's log line:\n{demo.log_line}")
    print(f"\nCold {demo.cold_s * 1000:.0f} ms, from process start to first answer.")
    print(f"Warm {demo.warm_s * 1000:.1f} ms, the median of {WARM_REQUESTS} further requests.")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.emulator.demo", description=__doc__)
    parser.add_argument("photo", type=Path, nargs="?", default=SAMPLE)
    photo = parser.parse_args(arguments).photo
    try:
        request = predict_request(photo)
    except OSError as error:
        print(f"demo: {photo}: {error.strerror}; expected a photo", file=sys.stderr)
        return 2
    try:
        print(f"POST /predict with {photo.name}", flush=True)
        _print(run(request))
    except (DemoFailed, RuntimeNotFound, RuntimeDied, httpx2.HTTPError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
