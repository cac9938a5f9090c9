"""Measure the time and memory that `python -m infra.report` takes for a million log lines.

Writes artifacts/report_benchmark.json. Takes half a minute on an idle machine.

    python -m infra.report.benchmark
"""

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

from infra import ROOT
from infra.bench.hardware import identify
from infra.report.__main__ import ALARM_EXIT_CODE, REFERENCE
from lambda_app.telemetry.fields import NAMESPACE

RESULT = ROOT / "artifacts/report_benchmark.json"
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(days=7)
LINES = 1_000_000
MAX_SECONDS, MAX_MEGABYTES = 60, 1000
LABELED_SHARE = 0.05  # of the predictions
Line = dict[str, Any]


def main() -> int:
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        written = write_log(log, LINES)
        seconds, megabytes = measure_report(log, Path(folder))
    result = {
        **identify(),
        "lines": written,
        "megabytes": round(megabytes, 1),
        "seconds": round(seconds, 2),
        "goals": {"seconds": MAX_SECONDS, "megabytes": MAX_MEGABYTES},
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return int(seconds > MAX_SECONDS or megabytes > MAX_MEGABYTES)


def write_log(path: Path, count: int) -> int:
    """Write at least `count` lines of one week of traffic, and return their number."""
    written = 0
    with path.open("w") as file:
        for line in generate_traffic(count):
            file.write(f"{json.dumps(line)}\n")
            written += 1
    return written


def measure_report(log: Path, folder: Path) -> tuple[float, float]:
    """Return the wall seconds and the peak resident megabytes of the report, run in its own process."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    command = [sys.executable, "-m", "infra.report", str(log), "--out", str(folder / "report")]
    began = time.perf_counter()
    process = os.posix_spawn(sys.executable, command, environment)
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) not in {0, ALARM_EXIT_CODE}:
        raise SystemExit(f"{' '.join(command)} failed; see its error above")
    return seconds, usage.ru_maxrss * 1024 / 1e6


def generate_traffic(count: int) -> Iterator[Line]:
    """Yield the lines that the function logs for photos drawn from the reference: requests, metrics and feedback."""
    reference = json.loads(REFERENCE.read_text())
    columns, rng = reference["columns"], random.Random(0)  # noqa: S311  # not for cryptography
    written, service = 0, {"service": "pet-classifier", "model_version": reference["model_version"]}
    while written < count:
        index = rng.randrange(reference["photos"])
        row = {name: values[index] for name, values in columns.items()}
        moment = BEGIN + written / count * WEEK
        for line in log_prediction(row, service, moment, rng):
            written += 1
            yield line


def log_prediction(row: Line, service: Line, moment: datetime, rng: random.Random) -> Iterator[Line]:
    """Yield the lines of one photo: the request, its metrics, and in 5 % of the cases its feedback."""
    request_id, label = str(uuid.UUID(int=rng.getrandbits(128), version=4)), row.pop("label")
    inference = rng.lognormvariate(2, 0.2)
    yield {
        **common_fields("request", service, request_id, moment),
        "method": "POST",
        "route": "/predict",
        "status": 200,
        "cold_start": rng.random() < 0.01,
        "total_ms": round(inference * 1.5, 3),
        **row,
        "photo_format": "JPEG",
        "decode_ms": round(inference * 0.4, 3),
        "inference_ms": round(inference, 3),
    }
    yield metrics_line({**service, "class": row["predicted_class"]}, request_id, moment)
    if rng.random() < LABELED_SHARE:
        common = common_fields("feedback", service, str(uuid.UUID(int=rng.getrandbits(128), version=4)), moment)
        yield {**common, "feedback_for": request_id, "label": label}


def common_fields(message: str, service: Line, request_id: str, moment: datetime) -> Line:
    timestamp = moment.isoformat(timespec="milliseconds")
    return {"level": "INFO", "message": message, "timestamp": timestamp, **service, "request_id": request_id}


def metrics_line(dimensions: Line, request_id: str, moment: datetime) -> Line:
    overall = {"InferenceLatency": "Milliseconds", "ColdStart": "Count", "Errors": "Count"}
    by_class = {"Predictions": "Count", "Unknown": "Count"}
    directives = [
        {
            "Namespace": NAMESPACE,
            "Dimensions": names,
            "Metrics": [{"Name": name, "Unit": unit} for name, unit in units.items()],
        }
        for names, units in (([[*dimensions][:-1]], overall), ([[*dimensions], ["service"]], by_class))
    ]
    stamp = {"Timestamp": int(moment.timestamp() * 1000), "CloudWatchMetrics": directives}
    return {"_aws": stamp, **dimensions, "request_id": request_id, **{key: [1.0] for key in overall | by_class}}


if __name__ == "__main__":
    sys.exit(main())
