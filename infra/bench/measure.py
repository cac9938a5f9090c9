"""One life of one candidate: a cold start, then every photo many times."""

import json
import os
import statistics
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from infra.bench.candidates import Candidate
from infra.bench.cost import WHOLE_VCPU_MB, billed_ms, by_memory, cheapest, usd_per_million
from infra.bench.photos import BenchPhoto
from infra.bench.sandbox import Sandbox, SandboxError
from infra.emulator.event import DOMAIN, HttpRequest, to_event, to_payload

FIRST = "500x375"  # the photo of the cold start, and the one that is repeated most
HEALTH = HttpRequest("GET", "/health", headers=(("host", DOMAIN),))
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
UNCOUNTED = 5  # requests with each photo before it is warm: memory grows, caches fill
LATENCY_TARGETS_MS = (20, 50, 100)
Launch = Callable[[Candidate], AbstractContextManager[Sandbox]]


@dataclass(frozen=True)
class Repeats:
    """Requests in one life, after those that nobody counts."""

    first: int  # with the first photo
    others: int  # with each of the others
    health: int


@dataclass(frozen=True)
class Life:
    """Milliseconds from outside; init and billed as the emulator clocks them."""

    cold_ms: float  # process start to the first answer
    init_ms: float
    rss_mb: float  # peak, after all photos
    billed_ms: list[float]  # of the first photo, warm
    warm_ms: dict[str, list[float]] = field(default_factory=dict)
    health_ms: list[float] = field(default_factory=list)


def payload(request: HttpRequest) -> bytes:
    return to_payload(to_event(request, request_id="bench", now=datetime.now(UTC)))


def live(candidate: Candidate, launch: Launch, photos: Iterable[BenchPhoto], repeats: Repeats) -> Life:
    """Raises SandboxError where the candidate does not start or does not answer 200."""
    payloads = {photo.name: payload(photo.request) for photo in photos}
    with launch(candidate) as sandbox:
        cold_ms = timed(sandbox, payloads[FIRST])
        warm = {FIRST: warmed(sandbox, payloads.pop(FIRST), repeats.first)}
        billed = sandbox.billed_ms()[1 + UNCOUNTED :]
        health = warmed(sandbox, payload(HEALTH), repeats.health) if candidate.routes else []
        warm |= {name: warmed(sandbox, body, repeats.others) for name, body in payloads.items()}
        return Life(cold_ms, sandbox.init_ms(), sandbox.peak_rss_mb(), billed, warm, health)


def warmed(sandbox: Sandbox, body: bytes, repeats: int) -> list[float]:
    return [timed(sandbox, body) for _ in range(UNCOUNTED + repeats)][UNCOUNTED:]


def from_disk(candidate: Candidate, launch: Launch, photo: BenchPhoto) -> tuple[float, float]:
    """Milliseconds of a cold start whose every byte comes from the disk, and the megabytes read."""
    with launch(candidate) as sandbox:
        os.sync()  # what is still to be written would stay in memory
        DROP_CACHES.write_text("3\n")
        cold_ms = timed(sandbox, payload(photo.request))
        return cold_ms, sandbox.read_mb()


def timed(sandbox: Sandbox, body: bytes) -> float:
    """Raises SandboxError for any answer but a 200 of the function itself: what fails fast must not look fast."""
    answer, ms = sandbox.invoke(body)
    found = json.loads(answer)
    if not isinstance(found, dict) or found.get("statusCode") != 200:
        raise SandboxError(f"answered {answer[:300]!r}, expected a statusCode of 200\n{sandbox.output()[-3000:]}")
    return ms


def summary(lives: list[Life], image_mb: float | None) -> dict[str, Any]:
    """Medians and spread over the lives; quantiles of warm times over all their requests."""
    billed = float(billed_ms([ms for life in lives for ms in life.billed_ms]).mean())  # a bill adds up, tails and all
    rss_mb = max(life.rss_mb for life in lives)
    health = [ms for life in lives for ms in life.health_ms]
    return {
        "cold_ms": quantiles([life.cold_ms for life in lives], 50, 95) | {"n": len(lives)},
        "init_ms": quantiles([life.init_ms for life in lives], 50, 95),
        "first_ms": quantiles([life.cold_ms - life.init_ms for life in lives], 50, 95),
        "warm_ms": {
            name: quantiles([ms for life in lives for ms in life.warm_ms[name]], 50, 95, 99)
            for name in lives[0].warm_ms
        },
        "health_ms": quantiles(health, 50, 95, 99) if health else None,
        "rss_mb": round(rss_mb, 1),
        "image_mb": image_mb,
        "billed_ms": round(billed, 2),
        "usd_per_million": round(usd_per_million(billed, WHOLE_VCPU_MB), 3),
    }


def cost(lives: list[Life]) -> dict[str, Any]:
    """By memory size and processor, and the cheapest size under each latency target."""
    ms = statistics.mean(ms for life in lives for ms in life.billed_ms)
    rss_mb = max(life.rss_mb for life in lives)
    tables = {arch: by_memory(ms, rss_mb, arch) for arch in ("x86_64", "arm64")}
    return {
        arch: {
            "by_memory": [vars(size) for size in sizes],
            "cheapest": {
                f"{target} ms": size.memory_mb if (size := cheapest(sizes, target)) else None
                for target in LATENCY_TARGETS_MS
            },
        }
        for arch, sizes in tables.items()
    }


def quantiles(values: Iterable[float], *percents: int) -> dict[str, float]:
    """{"p50": …}, interpolated between the two nearest."""
    found = np.percentile(list(values), percents)
    return {f"p{p}": round(float(value), 2) for p, value in zip(percents, found, strict=True)}


def median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)
