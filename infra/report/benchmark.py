"""A million log lines: how long `python -m infra.report` reads them, and what memory it takes.

Writes artifacts/report_benchmark.json. Takes two idle minutes.

    python -m infra.report.benchmark
"""

import argparse
import json
import os
import random
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from infra.bench.hardware import commit, hardware
from infra.emulator.runtime import ROOT
from infra.report.__main__ import ALARM, REFERENCE

RESULT = ROOT / "artifacts/report_benchmark.json"
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(days=7)
LINES = 1_000_000
SECONDS, MEGABYTES = 60, 1000  # the goals
LABELLED = 0.05  # share of the predictions
Fields = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.report.benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=LINES)
    count = parser.parse_args(arguments).lines
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        written = write(log, count)
        seconds, megabytes = run(log, Path(folder))
    result = {
        "hardware": hardware(docker=False),
        "commit": commit(),
        "lines": written,
        "megabytes": round(megabytes, 1),
        "seconds": round(seconds, 2),
        "goals": {"seconds": SECONDS, "megabytes": MEGABYTES},
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return int(seconds > SECONDS or megabytes > MEGABYTES)


def write(path: Path, count: int) -> int:
    """At least so many lines of one week; returns how many."""
    with path.open("w") as file:
        return sum(bool(file.write(f"{json.dumps(line)}\n")) for line in traffic(count))


def run(log: Path, folder: Path) -> tuple[float, float]:
    """Wall seconds and peak resident megabytes of the report, in a process of its own."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    command = [sys.executable, "-m", "infra.report", str(log), "--out", str(folder / "report")]
    began = time.perf_counter()
    process = os.posix_spawn(sys.executable, command, environment)
    _, status, used = os.wait4(process, 0)
    seconds = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) not in {0, ALARM}:
        raise SystemExit(f"{' '.join(command)} failed; its error is above")
    return seconds, used.ru_maxrss / 1024


def traffic(count: int, seed: int = 0) -> Iterator[Fields]:
    """What the function writes of photos that are drawn from the reference: a request's line and its metrics, mixed
    with feedback, and with health checks, one for every hundred photos.
    """
    reference = json.loads(REFERENCE.read_text())
    columns, draw = reference["columns"], random.Random(seed)  # noqa: S311  # no secret
    written, service = 0, {"service": "pet-classifier", "model_version": reference["model_version"]}
    while written < count:
        row = {name: values[k] for k in [draw.randrange(reference["photos"])] for name, values in columns.items()}
        moment = BEGIN + written / count * WEEK
        for line in prediction(row, service, moment, draw):
            written += 1
            yield line


def prediction(row: Fields, service: Fields, moment: datetime, draw: random.Random) -> Iterator[Fields]:
    """A photo's lines: the request, its metrics, and now and then what it really showed."""
    request_id, label = str(uuid.UUID(int=draw.getrandbits(128), version=4)), row.pop("label")
    inference = draw.lognormvariate(2, 0.2)
    yield {
        **said("request", service, request_id, moment),
        "method": "POST",
        "route": "/predict",
        "status": 200,
        "cold_start": draw.random() < 0.01,
        "total_ms": round(inference * 1.5, 3),
        **row,
        "photo_format": "JPEG",
        "decode_ms": round(inference * 0.4, 3),
        "inference_ms": round(inference, 3),
    }
    yield emf({**service, "class": row["predicted_class"]}, request_id, moment)
    if draw.random() < LABELLED:
        about = said("feedback", service, str(uuid.UUID(int=draw.getrandbits(128), version=4)), moment)
        yield {**about, "feedback_for": request_id, "label": label}


def said(message: str, service: Fields, request_id: str, moment: datetime) -> Fields:
    timestamp = moment.isoformat(timespec="milliseconds")
    return {"level": "INFO", "message": message, "timestamp": timestamp, **service, "request_id": request_id}


def emf(dimensions: Fields, request_id: str, moment: datetime) -> Fields:
    overall = {"InferenceLatency": "Milliseconds", "ColdStart": "Count", "Errors": "Count"}
    by_class = {"Predictions": "Count", "Unknown": "Count"}
    directives = [
        {
            "Namespace": "PetClassifier",
            "Dimensions": names,
            "Metrics": [{"Name": name, "Unit": unit} for name, unit in units.items()],
        }
        for names, units in (([[*dimensions][:-1]], overall), ([[*dimensions], ["service"]], by_class))
    ]
    stamp = {"Timestamp": int(moment.timestamp() * 1000), "CloudWatchMetrics": directives}
    return {"_aws": stamp, **dimensions, "request_id": request_id, **{key: [1.0] for key in overall | by_class}}


if __name__ == "__main__":
    sys.exit(main())
