"""What a photo costs in the batch, against decoding and inference alone. Writes artifacts/batch.json; two idle minutes.

The handler runs on one core and fetches from moto's S3 over HTTP, which another core serves. What is measured is CPU
time of the handler's process: the wait for S3 is moto's, not Amazon's, and there is no TLS.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from botocore.session import Session
from moto.server import ThreadedMotoServer

from infra.bench.candidates import PEERS
from infra.bench.cost import USD_PER_REQUEST, WHOLE_VCPU_MB, usd_per_million
from infra.bench.hardware import commit, hardware
from infra.bench.measure import quantiles
from infra.bench.photos import bench_photos
from infra.emulator.runtime import ROOT
from infra.markdown import table
from infra.score.queue import MESSAGES, PER_MESSAGE

FIGURES = ROOT / "artifacts/batch.json"
PROGRAM = PEERS / "batch/score.py"
MEASURED = ("500x375", "12mp")
BUCKET = "photos-of-the-benchmark"
TURNS = 5
LIMIT = 1.2
# USD, us-east-1, as https://aws.amazon.com/s3/pricing/ and https://aws.amazon.com/sqs/pricing/ were in November 2026.
USD_PER_GET, USD_PER_PUT, USD_PER_SQS_REQUEST = 0.4e-6, 5e-6, 0.4e-6
# Not measured here, assumed: what a message waits for S3, for its first photo and for its results.
WAIT_MS = 100
PHOTOS = 100_000_000


def measure(turns: int, photos: int = PER_MESSAGE) -> dict[str, Any]:
    """Raises CalledProcessError where a photo cannot be classified."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a photo, otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": host,
        "PYTHONPATH": str(ROOT),
    }
    session = Session()
    session.set_credentials("test", "test")
    s3 = session.create_client("s3", "us-east-1", endpoint_url=environment["AWS_ENDPOINT_URL"])
    s3.create_bucket(Bucket=BUCKET)
    found = {}
    for photo in bench_photos():
        if photo.name in MEASURED:
            s3.put_object(Bucket=BUCKET, Key=photo.name, Body=photo.data)
            found[photo.name] = _scored(photo.name, (turns, photos), os.environ | environment)
    server.stop()
    network = found[MEASURED[0]].pop("network")
    return {
        "hardware": hardware(docker=False),
        "commit": commit(),
        "turns": turns,
        "ms": {
            name: {way: quantiles(times[way], 50, 95) for way in ("handler", "least")} for name, times in found.items()
        },
        "network_ms": {count: quantiles(times, 50, 95) for count, times in network.items()},
    }


def _scored(name: str, counts: tuple[int, int], environment: dict[str, str]) -> Any:
    core = str(max(os.sched_getaffinity(0)))
    command = ["taskset", "--cpu-list", core, sys.executable, str(PROGRAM), *map(str, counts), BUCKET, name]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def render(figures: Mapping[str, Any]) -> str:
    rows = []
    for name, ways in figures["ms"].items():
        handler, least = (ways[way]["p50"] for way in ("handler", "least"))
        verdict = "met" if handler <= LIMIT * least else "**missed**"
        rows.append((name, f"{handler:.2f}", f"{least:.2f}", f"{handler / least:.2f} x", f"≤ {LIMIT} x", verdict))
    ways = table(("CPU ms a photo", "handler", "decode, run", "ratio", "limit", ""), rows)
    counts = table(
        ("photos in one run of the network, with its arena", "CPU ms a photo"),
        [(count, f"{times['p50']:.2f}") for count, times in figures["network_ms"].items()],
    )
    where = (
        f"Medians of {figures['turns']} turns on {figures['hardware']}; commit `{figures['commit']}`. TLS is not in it."
    )
    return f"{ways}\n\n{counts}\n\n{where}"


def costs(figures: Mapping[str, Any]) -> str:
    """Return the tables of infra/score/README.md: costs and time of 100 million photos of the first size."""
    ms = figures["ms"][MEASURED[0]]["handler"]["p50"] + WAIT_MS / PER_MESSAGE
    messages = PHOTOS / PER_MESSAGE
    # An invocation a message, which is received and deleted alone, but sent in company.
    parts = {
        "Lambda, time": PHOTOS / 1e6 * (usd_per_million(ms, WHOLE_VCPU_MB) - 1e6 * USD_PER_REQUEST),
        "Lambda, requests": messages * USD_PER_REQUEST,
        "S3, photos read": PHOTOS * USD_PER_GET,
        "S3, results written and read": messages * (USD_PER_PUT + USD_PER_GET),
        "SQS": (2 + 1 / MESSAGES) * messages * USD_PER_SQS_REQUEST,
    }
    rows = [(name, f"{usd:,.2f}") for name, usd in (parts | {"**together**": sum(parts.values())}).items()]
    hours = PHOTOS * ms / 3.6e6
    times = [(str(count), f"{1000 / ms * count:,.0f}", f"{hours / count:,.1f}") for count in (2, 10, 100, 1000)]
    return (
        f"{table(('100 million photos', 'USD'), rows)}\n\n"
        f"{table(('`BatchConcurrency`', 'photos a second', 'hours'), times)}\n\n"
        f"From {ms:.2f} ms a photo of {MEASURED[0]}: CPU time as measured, commit `{figures['commit']}`, and "
        f"{WAIT_MS} ms a message of {PER_MESSAGE} photos for S3, which is assumed. TLS is not in it."
    )


if __name__ == "__main__":
    try:
        FIGURES.write_text(json.dumps(measure(TURNS), indent=2) + "\n")
    except subprocess.CalledProcessError as error:
        sys.exit(f"batch: {PROGRAM.name} ended with exit code {error.returncode}; its output is above")
    print(render(json.loads(FIGURES.read_text())))
