"""Measure the CPU time per photo of the SQS batch handler, compared with decoding and inference alone.

The handler runs on one core and fetches photos over HTTP from moto's S3, which runs on another core. Only CPU time of
the handler's process counts, because waiting for moto says nothing about S3. TLS is not included. The command writes
artifacts/batch.json. It takes two minutes on an idle machine.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from botocore.session import Session

from infra import ROOT
from infra.bench.cost import USD_PER_REQUEST, WHOLE_VCPU_MB, usd_per_million
from infra.bench.hardware import cite, identify, run_pinned
from infra.bench.measure import quantiles
from infra.bench.photos import FIRST, bench_photos
from infra.emulator.moto_server import moto_server
from infra.markdown import table
from infra.score.queue import MAX_MESSAGES, PHOTOS_PER_MESSAGE

FIGURES = ROOT / "artifacts/batch.json"
PROGRAM = ROOT / "infra/bench/programs/score.py"
MEASURED = (FIRST, "12mp")
WAYS = ("handler", "floor")  # the batch handler; decoding and inference alone
BUCKET = "photos-of-the-benchmark"
TURNS = 5
LIMIT = 1.1
# USD, us-east-1, from https://aws.amazon.com/s3/pricing/ and https://aws.amazon.com/sqs/pricing/ in November 2026.
USD_PER_GET, USD_PER_PUT, USD_PER_SQS_REQUEST = 0.4e-6, 5e-6, 0.4e-6
# Assumed, not measured: the time per message spent waiting for S3, for its first photo and for writing its results.
WAIT_MS = 100
PHOTOS = 100_000_000


def measure(turns: int, photos: int = PHOTOS_PER_MESSAGE) -> dict[str, Any]:
    """Return CPU milliseconds per photo. Raise `CalledProcessError` if a photo cannot be classified."""
    source = identify()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would log a line per photo
    times_by_photo = {}
    with moto_server() as environment:
        session = Session()
        session.set_credentials("test", "test")
        s3 = session.create_client("s3", "us-east-1", endpoint_url=environment["AWS_ENDPOINT_URL"])
        s3.create_bucket(Bucket=BUCKET)
        for photo in bench_photos():
            if photo.name in MEASURED:
                s3.put_object(Bucket=BUCKET, Key=photo.name, Body=photo.data)
                arguments = (str(turns), str(photos), BUCKET, photo.name)
                times_by_photo[photo.name] = run_pinned(PROGRAM, *arguments, env=environment)
    network = times_by_photo[FIRST].pop("network")
    return {
        **source,
        "turns": turns,
        "ms": {name: {way: quantiles(times[way], 50, 95) for way in WAYS} for name, times in times_by_photo.items()},
        "network_ms": {count: quantiles(times, 50, 95) for count, times in network.items()},
    }


def render(figures: Mapping[str, Any]) -> str:
    """Return the tables of CPU time by photo and by batch size."""
    rows = []
    for name, ways in figures["ms"].items():
        handler, floor = (ways[way]["p50"] for way in WAYS)
        verdict = "met" if handler <= LIMIT * floor else "**missed**"
        rows.append((name, f"{handler:.2f}", f"{floor:.2f}", f"{handler / floor:.2f} x", f"≤ {LIMIT} x", verdict))
    ways = table(("CPU ms per photo", "handler", "decode, run", "ratio", "limit", ""), rows)
    counts = table(
        ("photos per run of the network, with its memory arena", "CPU ms per photo"),
        [(count, f"{times['p50']:.2f}") for count, times in figures["network_ms"].items()],
    )
    source = f"Medians of {figures['turns']} turns {cite(figures)}"
    return f"{ways}\n\n{counts}\n\n{source} TLS is not included."


def render_costs(figures: Mapping[str, Any]) -> str:
    """Return the tables of infra/score/README.md: cost and duration for 100 million photos of the first size."""
    ms = figures["ms"][FIRST]["handler"]["p50"] + WAIT_MS / PHOTOS_PER_MESSAGE
    messages = PHOTOS / PHOTOS_PER_MESSAGE
    # Each message takes one invocation and is received and deleted alone; messages are sent in groups.
    parts = {
        "Lambda, time": PHOTOS / 1e6 * (usd_per_million(ms, WHOLE_VCPU_MB) - 1e6 * USD_PER_REQUEST),
        "Lambda, requests": messages * USD_PER_REQUEST,
        "S3, photos read": PHOTOS * USD_PER_GET,
        "S3, results written and read": messages * (USD_PER_PUT + USD_PER_GET),
        "SQS": (2 + 1 / MAX_MESSAGES) * messages * USD_PER_SQS_REQUEST,
    }
    rows = [(name, f"{usd:,.2f}") for name, usd in (parts | {"**total**": sum(parts.values())}).items()]
    hours = PHOTOS * ms / 3.6e6
    times = [(str(count), f"{1000 / ms * count:,.0f}", f"{hours / count:,.1f}") for count in (2, 10, 100, 1000)]
    return (
        f"{table(('100 million photos', 'USD'), rows)}\n\n"
        f"{table(('`BatchConcurrency`', 'photos per second', 'hours'), times)}\n\n"
        f"Based on {ms:.2f} ms per photo of {FIRST}: CPU time as measured, commit `{figures['commit']}`, and "
        f"an assumed {WAIT_MS} ms per message of {PHOTOS_PER_MESSAGE} photos for S3. TLS is not included."
    )


if __name__ == "__main__":
    try:
        FIGURES.write_text(json.dumps(measure(TURNS), indent=2) + "\n")
    except subprocess.CalledProcessError as error:
        sys.exit(f"batch: {PROGRAM.name} exited with {error.returncode}; its output is above")
    print(render(json.loads(FIGURES.read_text())))
