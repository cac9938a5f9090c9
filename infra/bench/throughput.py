"""Measure requests per second over HTTP on two cores: `uvicorn lambda_app.handler:app`, LitServe and BentoML.

All three serve the same model file with the same preprocessing; only the server differs. ApacheBench, also in a
container, sends the same multipart photo repeatedly.
"""

import contextlib
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from infra.bench.candidates import Candidate, server
from infra.bench.images import LOAD
from infra.bench.photos import BenchPhoto
from infra.emulator.process import detached_container, read_container_log, run_command

CORES, CLIENTS = "2", "4"
PORT = 8000
PYTHON = ("/usr/bin/python3", "-m")
# Access logs are off for all servers; lambda_app still writes its log line and metrics. BentoML keeps its state in
# HOME and reports usage by default. With PYTHON_CPU_COUNT, Python counts the cores of the container.
ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108  # inside the container
    "BENTOML_DO_NOT_TRACK": "True",
    "BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false",
    "PYTHON_CPU_COUNT": CORES,
}
UVICORN = ("uvicorn", "lambda_app.handler:app", "--host", "0.0.0.0", "--no-access-log")  # noqa: S104  # inside the container
START_TIMEOUT_S = 60


@dataclass(frozen=True)
class Server:
    """A server, the command that starts it, and the form field that it expects."""

    candidate: Candidate
    command: tuple[str, ...]  # Python module and its arguments
    field: str = "file"


SERVERS = {
    "uvicorn": Server(server("uvicorn"), (*UVICORN, "--workers", CORES)),  # one worker per core, like the others
    "uvicorn_one_process": Server(server("uvicorn"), UVICORN),
    "litserve": Server(server("litserve", "server.py"), ("server",), field="request"),  # LitServe's field name
    "bentoml": Server(
        server("bentoml", "service.py"), ("bentoml", "serve", "service:PetClassifier", "--port", str(PORT))
    ),
}


class ThroughputError(Exception):
    """A server did not start, or returned an error. The message contains its output."""


def measure_throughput(photo: BenchPhoto, rounds: int, requests: int) -> dict[str, Any]:
    """Return the median requests per second of each server. Servers alternate, and each round restarts them."""
    speeds: dict[str, list[float]] = {name: [] for name in SERVERS}
    for _ in range(rounds):
        for name, each in SERVERS.items():
            with run_server(each.candidate.image, each.command) as address:
                speeds[name].append(measure_load(address, photo, each.field, requests))
    medians = {name: round(statistics.median(values), 1) for name, values in speeds.items()}
    return {"requests_per_second": medians, "rounds": rounds, "clients": int(CLIENTS), "cores": int(CORES)}


@contextlib.contextmanager
def run_server(image: str, command: tuple[str, ...]) -> Iterator[str]:
    """Start a server in a container, and yield its address as soon as it responds."""
    options = [word for name, value in ENVIRONMENT.items() for word in ("--env", f"{name}={value}")]
    address_field = "{{.NetworkSettings.Networks.bridge.IPAddress}}"
    with detached_container("--cpus", CORES, *options, image, *PYTHON, *command) as container:
        address = run_command("docker", "inspect", "--format", address_field, container)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _is_ready(address):
            if time.monotonic() > deadline:
                output = read_container_log(container)[-3000:]
                raise ThroughputError(f"{image} does not respond after {START_TIMEOUT_S} s:\n{output}")
            time.sleep(0.2)
        yield address


def _is_ready(address: str) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(f"http://{address}:{PORT}/docs", trust_env=False, timeout=5).status_code < 500
    return False


def measure_load(address: str, photo: BenchPhoto, field: str, requests: int) -> float:
    """Return requests per second with the photo in this form field, after the same number of requests to warm up."""
    file = (photo.name, photo.data, f"image/{photo.format.lower()}")
    request = httpx2.Request("POST", f"http://{address}:{PORT}/predict", files={field: file})
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder, "body")
        body.write_bytes(request.read())
        body.chmod(0o644)
        Path(folder).chmod(0o755)
        mount = ("--volume", f"{folder}:/photo:ro")
        ab = ("docker", "run", "--rm", *mount, LOAD, "-q", "-c", CLIENTS, "-p", "/photo/body")
        for count in (requests, requests):
            report = run_command(*ab, "-n", str(count), "-T", request.headers["content-type"], str(request.url))
    failed = re.search(r"Non-2xx responses:\s+(\d+)", report)
    speed = re.search(r"Requests per second:\s+([\d.]+)", report)
    if failed or not speed:
        raise ThroughputError(f"{address} did not respond to every request with 200:\n{report}")
    return float(speed[1])
