"""Send damaged and hostile photos and forms to the function behind uvicorn, and count the responses by status.

The command writes artifacts/fuzz.json and prints the table. The same seed sends the same requests. It exits with 1 if a
response has status 5xx or takes over 5 s, or if the memory of the server grows beyond the limit. 10,000 requests can
take ten minutes or more.
"""

import json
import random
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
from PIL import Image
from tqdm import trange

from infra import ROOT
from infra.bench.hardware import cite, identify, last_core, read_peak_mb
from infra.bench.photos import SAMPLE, encode
from infra.markdown import table

FIGURES = ROOT / "artifacts/fuzz.json"
HEIC = ROOT / "tests/data/cat.heic"
REQUESTS, SEED = 10_000, 15
MAX_SECONDS, MAX_MB = 5.0, 500
FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {}, "progressive JPEG": {"progressive": True}, "PNG": {}, "WEBP": {}, "lossless WEBP": {"lossless": True},
    "GIF": {}, "BMP": {}, "TIFF": {}, "deflated TIFF": {"compression": "tiff_adobe_deflate"}, "AVIF": {"speed": 10},
}  # fmt: skip
EXTREMES = [bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\1", b"\1\0\0\0", b"\x80\0\0\0"]
TYPES = ["image/jpeg", "image/png", "application/octet-stream", "text/plain", "application/json", ""]


def make_originals() -> dict[str, bytes]:
    """Return a small photo in each format."""
    small = Image.open(SAMPLE).resize((160, 120))
    files = {name: encode(small, name.split()[-1], **options) for name, options in FORMATS.items()}
    return {"HEIC": HEIC.read_bytes()} | files


def damage(data: bytes, rng: random.Random) -> bytes:
    """Return the file after one to four random changes: replace, cut, repeat, remove or insert bytes."""
    for _ in range(rng.randint(1, 4)):
        # Half of the damage is in the first 200 bytes, where the headers are.
        offset = rng.randrange(max(1, min(len(data), 200) if rng.random() < 0.5 else len(data)))
        length = rng.choice([1, 4, 30, 500])
        kind = rng.randrange(6)
        if kind == 0:
            data = data[:offset] + rng.randbytes(1) + data[offset + 1 :]
        elif kind == 1:
            data = data[:offset] + rng.choice(EXTREMES) + data[offset + 4 :]
        elif kind == 2:
            data = data[:offset]
        elif kind == 3:
            data = data[:offset] + data[offset : offset + length] * rng.choice([2, 100]) + data[offset + length :]
        elif kind == 4:
            data = data[:offset] + data[offset + length :]
        else:
            data = data[:offset] + rng.randbytes(length) + data[offset:]
    return data[:4_500_000]


def make_request(files: dict[str, bytes], rng: random.Random) -> tuple[str, bytes, str]:
    """Return the name of the damaged format, the body and the content type."""
    name = rng.choice([*files, "form"])
    if name != "form":
        return name, damage(files[name], rng), rng.choice(TYPES)
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    return name, damage(head + files["JPEG"] + b"\r\n--b--\r\n", rng), "multipart/form-data; boundary=b"


@contextmanager
def run_server() -> Iterator[tuple[httpx2.Client, int]]:
    """Yield a client of the function and the process ID of its server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = ["taskset", "--cpu-list", last_core(), sys.executable, "-m", "uvicorn", "lambda_app.handler:app"]
        command += ["--fd", str(listening.fileno()), "--lifespan", "off", "--no-access-log", "--log-level", "warning"]
        server = subprocess.Popen(command, cwd=ROOT, pass_fds=[listening.fileno()], stdout=subprocess.DEVNULL)
        host, port = listening.getsockname()
        try:
            with httpx2.Client(base_url=f"http://{host}:{port}", trust_env=False, timeout=120) as client:
                client.get("/health").raise_for_status()
                yield client, server.pid
        finally:
            server.terminate()
            server.wait()


def measure(requests: int, seed: int) -> dict[str, Any]:
    """Send the requests, and return statuses and slowest response by format and the growth of memory."""
    source = identify()
    rng, files = random.Random(seed), make_originals()  # noqa: S311  # reproducible, not for security
    statuses: dict[str, Counter[int]] = defaultdict(Counter)
    slowest: dict[str, float] = defaultdict(float)
    with run_server() as (client, pid):
        client.post("/predict", content=files["JPEG"]).raise_for_status()
        before = read_peak_mb(pid)
        for _ in trange(requests, disable=None):
            name, body, kind = make_request(files, rng)
            start = time.perf_counter()
            response = client.post("/predict", content=body, headers={"content-type": kind} if kind else {})
            statuses[name][response.status_code] += 1
            slowest[name] = max(slowest[name], time.perf_counter() - start)
        memory = read_peak_mb(pid) - before
        client.post("/predict", content=files["JPEG"]).raise_for_status()
    rows = [
        {
            "name": name,
            "statuses": {str(key): statuses[name][key] for key in sorted(statuses[name])},
            "slowest": slowest[name],
        }
        for name in sorted(statuses)
    ]
    return {**source, "seed": seed, "more_mb": memory, "rows": rows}


def find_violations(figures: dict[str, Any]) -> list[str]:
    """Return the limits that the responses exceed."""
    violations = [f"memory grew by {figures['more_mb']:.0f} MB"] if figures["more_mb"] > MAX_MB else []
    for row in figures["rows"]:
        errors = {status: count for status, count in row["statuses"].items() if status >= "500"}
        violations += [f"{row['name']}: {count} x {status}" for status, count in errors.items()]
        if row["slowest"] > MAX_SECONDS:
            violations.append(f"{row['name']}: {row['slowest']:.1f} s")
    return violations


def render(figures: dict[str, Any]) -> str:
    """Return the table of responses by damaged format and status."""
    codes = sorted({status for row in figures["rows"] for status in row["statuses"]})
    head = ("what is damaged", *codes, "slowest, s")
    rows = [
        (row["name"], *(str(row["statuses"].get(code, 0)) for code in codes), f"{row['slowest']:.2f}")
        for row in figures["rows"]
    ]
    return f"{table(head, rows)}\n\nMeasured {cite(figures)}"


def main() -> None:
    figures = measure(REQUESTS, SEED)
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n")
    print(render(figures))
    print(f"memory grew by {figures['more_mb']:.0f} MB")
    violations = find_violations(figures)
    for violation in violations:
        print(violation, file=sys.stderr)
    sys.exit(bool(violations))


if __name__ == "__main__":
    main()
