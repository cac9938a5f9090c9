"""Classifies one photo the way AWS would: over HTTP, through a function URL, in Lambda's own runtime.

Prints the answer, the handler's log line and the times. Exit code 0 only if all of it worked, 2 for a missing photo.
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

from infra.emulator.event import HttpRequest, predict_request
from infra.emulator.runtime import ROOT, Runtime, RuntimeDied, RuntimeNotFound, lambda_runtime
from infra.emulator.serve import background, local_app

SAMPLE = ROOT / "data/samples/cat.jpg"
WARM_REQUESTS = 9


class DemoFailed(Exception):
    """What did not work, in one line."""


@dataclass(frozen=True)
class Demo:
    answer: dict[str, Any]
    log_line: str
    cold_s: float  # from process start to first answer
    warm_s: float  # median of further requests


def run(request: HttpRequest) -> Demo:
    started = time.perf_counter()
    with lambda_runtime() as runtime:
        listening_s = time.perf_counter() - started
        with background(local_app(runtime.endpoint)) as url, httpx2.Client(base_url=url, trust_env=False) as client:
            answer, first_s = _predict(client, request)
            warm_s = statistics.median(_predict(client, request)[1] for _ in range(WARM_REQUESTS))
            return Demo(answer, _log_line(runtime, answer), listening_s + first_s, warm_s)


def _predict(client: httpx2.Client, request: HttpRequest) -> tuple[dict[str, Any], float]:
    started = time.perf_counter()
    headers = {"content-type": dict(request.headers)["content-type"]}
    response = client.post(request.path, content=request.body, headers=headers, timeout=60)
    seconds = time.perf_counter() - started
    if response.status_code != HTTPStatus.OK:
        raise DemoFailed(f"POST /predict answered {response.status_code}, expected 200: {response.text.strip()}")
    if "predicted_class" not in (answer := response.json()):
        raise DemoFailed(f"POST /predict answered {answer}, expected a predicted_class")
    return answer, seconds


def _log_line(runtime: Runtime, answer: dict[str, Any]) -> str:
    request_id = answer.get("request_id")
    # An object with "_aws" is a metric: the Embedded Metric Format shares the output with the log.
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
