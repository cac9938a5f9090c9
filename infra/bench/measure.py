"""Measure one run of a candidate: a cold start, then repeated requests with every photo."""

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
from infra.bench.photos import FIRST, BenchPhoto
from infra.bench.sandbox import Sandbox, SandboxError
from infra.emulator.event import HttpRequest, to_event, to_payload

HEALTH = HttpRequest("GET", "/health")
DROP_CACHES = Path("/proc/sys/vm/drop_caches")
WARM_UP = 5  # requests with each photo before measuring, while memory grows and caches fill
LATENCY_TARGETS_MS = (20, 50, 100)
Launch = Callable[[Candidate], AbstractContextManager[Sandbox]]


@dataclass(frozen=True)
class Repeats:
    """The numbers of counted requests of a run: a candidate from its cold start to its end."""

    first: int  # with the first photo
    others: int  # with each other photo
    health: int


@dataclass(frozen=True)
class Run:
    """The measurements of a run. The emulator measures init and billed times, the client the others."""

    cold_ms: float  # from process start to the first response
    init_ms: float
    rss_mb: float  # peak, after all photos
    durations_ms: list[float]  # of warm requests with the first photo; Lambda bills them rounded up
    warm_ms: dict[str, list[float]] = field(default_factory=dict)
    health_ms: list[float] = field(default_factory=list)


def payload(request: HttpRequest) -> bytes:
    """Return the event of a request as JSON."""
    return to_payload(to_event(request, request_id="bench", now=datetime.now(UTC)))


def measure_run(candidate: Candidate, launch: Launch, photos: Iterable[BenchPhoto], repeats: Repeats) -> Run:
    """Start a candidate and time its requests.

    Raise `SandboxError` if it does not start or respond with 200, and `CommandFailed` if Docker fails.
    """
    payloads = {photo.name: payload(photo.request) for photo in photos}
    with launch(candidate) as sandbox:
        cold_ms = time_invocation(sandbox, payloads[FIRST])
        warm = {FIRST: time_warm(sandbox, payloads.pop(FIRST), repeats.first)}
        durations = sandbox.durations_ms(1 + WARM_UP + repeats.first)[1 + WARM_UP :]
        health = time_warm(sandbox, payload(HEALTH), repeats.health) if candidate.routes else []
        warm |= {name: time_warm(sandbox, body, repeats.others) for name, body in payloads.items()}
        return Run(cold_ms, sandbox.init_ms(), sandbox.peak_rss_mb(), durations, warm, health)


def time_warm(sandbox: Sandbox, body: bytes, repeats: int) -> list[float]:
    """Return the milliseconds of each request after the warm-up."""
    return [time_invocation(sandbox, body) for _ in range(WARM_UP + repeats)][WARM_UP:]


def measure_from_disk(candidate: Candidate, launch: Launch, photo: BenchPhoto) -> tuple[float, float]:
    """Return the milliseconds of a cold start with empty disk caches, and the megabytes read."""
    with launch(candidate) as sandbox:
        os.sync()  # unwritten pages would stay in memory
        DROP_CACHES.write_text("3\n")
        cold_ms = time_invocation(sandbox, payload(photo.request))
        return cold_ms, sandbox.read_mb()


def time_invocation(sandbox: Sandbox, body: bytes) -> float:
    """Return the milliseconds of one invocation.

    Raise `SandboxError` unless the function responds with 200, so that fast failures do not count as fast responses.
    """
    response, ms = sandbox.invoke(body)
    decoded = json.loads(response)
    if not isinstance(decoded, dict) or decoded.get("statusCode") != 200:
        raise SandboxError(f"responded with {response[:300]!r}; expected statusCode 200\n{sandbox.output()[-3000:]}")
    return ms


def summarize(runs: list[Run], image_mb: float | None) -> dict[str, Any]:
    """Return medians and spread over the runs, and quantiles of warm times over all requests."""
    billed = float(billed_ms([ms for run in runs for ms in run.durations_ms]).mean())  # a mean, because bills add up
    rss_mb = max(run.rss_mb for run in runs)
    health = [ms for run in runs for ms in run.health_ms]
    return {
        "cold_ms": quantiles([run.cold_ms for run in runs], 50, 95) | {"n": len(runs)},
        "init_ms": quantiles([run.init_ms for run in runs], 50, 95),
        "first_ms": quantiles([run.cold_ms - run.init_ms for run in runs], 50, 95),
        "warm_ms": {
            name: quantiles([ms for run in runs for ms in run.warm_ms[name]], 50, 95, 99) for name in runs[0].warm_ms
        },
        "health_ms": quantiles(health, 50, 95, 99) if health else None,
        "rss_mb": round(rss_mb, 1),
        "image_mb": image_mb,
        "billed_ms": round(billed, 2),
        "usd_per_million": round(usd_per_million(billed, WHOLE_VCPU_MB), 3),
    }


def estimate_cost(runs: list[Run]) -> dict[str, Any]:
    """Return the cost by memory size for each architecture, and the cheapest size for each latency target."""
    ms = statistics.mean(ms for run in runs for ms in run.durations_ms)
    rss_mb = max(run.rss_mb for run in runs)
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
    """Return `{"p50": …}` for each percentile, interpolated between the two nearest values."""
    results = np.percentile(list(values), percents)
    return {f"p{p}": round(float(value), 2) for p, value in zip(percents, results, strict=True)}


def median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)
