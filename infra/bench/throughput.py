"""Answers a second over HTTP on the same two cores: `uvicorn lambda_app.handler:app` against LitServe and BentoML.

All three serve the same model file through the same preprocessing; what differs is the server. ApacheBench, in a
container too, sends one multipart photo over and over.
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
from infra.bench.images import LOAD, run
from infra.bench.photos import BenchPhoto

CORES, CLIENTS = "2", "4"
PORT = 8000
PYTHON = ("/usr/bin/python3", "-m")
# No server logs every access, though ours goes on writing its log line and its metrics. BentoML keeps its state in its
# home, and would report usage. Python counts the cores that the container may use, not the machine's.
ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108  # of the container
    "BENTOML_DO_NOT_TRACK": "True",
    "BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false",
    "PYTHON_CPU_COUNT": CORES,
}
UVICORN = ("uvicorn", "lambda_app.handler:app", "--host", "0.0.0.0", "--no-access-log")  # noqa: S104  # in a container
START_TIMEOUT_S = 60
BOUNDARY = "photo"


@dataclass(frozen=True)
class Server:
    candidate: Candidate
    command: tuple[str, ...]  # a module of Python and its arguments
    field: str = "file"  # of the form


SERVERS = {
    "uvicorn": Server(server("uvicorn"), (*UVICORN, "--workers", CORES)),  # one a core, as the others
    "uvicorn_one_process": Server(server("uvicorn"), UVICORN),
    "litserve": Server(server("litserve", "server.py"), ("server",), field="request"),  # as LitServe names it
    "bentoml": Server(
        server("bentoml", "service.py"), ("bentoml", "serve", "service:PetClassifier", "--port", str(PORT))
    ),
}


class ThroughputError(Exception):
    """A server did not start or answered something else; the message carries its output."""


def throughput(photo: BenchPhoto, rounds: int, requests: int) -> dict[str, Any]:
    """The servers take turns; each round starts them anew."""
    speeds: dict[str, list[float]] = {name: [] for name in SERVERS}
    for _ in range(rounds):
        for name, each in SERVERS.items():
            with serving(each.candidate.image, each.command) as address:
                speeds[name].append(load(address, multipart(photo, each.field), requests))
    medians = {name: round(statistics.median(values), 1) for name, values in speeds.items()}
    return {"requests_per_second": medians, "rounds": rounds, "clients": int(CLIENTS), "cores": int(CORES)}


@contextlib.contextmanager
def serving(image: str, command: tuple[str, ...]) -> Iterator[str]:
    """The server's address, once it answers."""
    options = [word for name, value in ENVIRONMENT.items() for word in ("--env", f"{name}={value}")]
    container = run("docker", "run", "--detach", "--cpus", CORES, *options, image, *PYTHON, *command)
    try:
        address = run("docker", "inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", container)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(address):
            if time.monotonic() > deadline:
                said = run("sh", "-c", f"docker logs {container} 2>&1 | tail -n 30")
                raise ThroughputError(f"{image} does not answer after {START_TIMEOUT_S} s:\n{said}")
            time.sleep(0.2)
        yield address
    finally:
        run("docker", "rm", "--force", container)


def _answers(address: str) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(f"http://{address}:{PORT}/docs", trust_env=False, timeout=5).status_code < 500
    return False


def load(address: str, form: bytes, requests: int) -> float:
    """Answers a second, after as many requests again to warm up."""
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder, "body")
        body.write_bytes(form)
        body.chmod(0o644)
        Path(folder).chmod(0o755)
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        ab = (
            "docker",
            "run",
            "--rm",
            "--volume",
            f"{folder}:/photo:ro",
            LOAD,
            "-q",
            "-c",
            CLIENTS,
            "-p",
            "/photo/body",
        )
        for count in (requests, requests):
            report = run(*ab, "-n", str(count), "-T", kind, f"http://{address}:{PORT}/predict")
    failed = re.search(r"Non-2xx responses:\s+(\d+)", report)
    speed = re.search(r"Requests per second:\s+([\d.]+)", report)
    if failed or not speed:
        raise ThroughputError(f"{address} did not answer every request with 200:\n{report}")
    return float(speed[1])


def multipart(photo: BenchPhoto, field: str) -> bytes:
    """RFC 7578, one part."""
    disposition = f'Content-Disposition: form-data; name="{field}"; filename="{photo.name}"'
    head = f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: image/{photo.format.lower()}\r\n\r\n"
    return head.encode() + photo.data + f"\r\n--{BOUNDARY}--\r\n".encode()
