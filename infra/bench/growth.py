"""Measure how latency and memory grow with photo size, batch size, and the number of requests that a function served.

The command writes artifacts/growth.json and a plot, and prints the tables. It takes five minutes on an idle machine.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

from tqdm import tqdm, trange

from infra import ROOT
from infra.bench import images
from infra.bench.candidates import FUNCTION, FUNCTION_IMAGE, PEERS, Candidate
from infra.bench.growth_plots import plot
from infra.bench.hardware import cite, identify
from infra.bench.measure import Launch, payload, quantiles, time_invocation
from infra.bench.photos import BenchPhoto, bench_photos, draw_photo, first_photo
from infra.bench.sandbox import LAUNCH_ERRORS, Sandbox, SandboxError, container, has_docker, process
from infra.emulator.response import to_response
from infra.markdown import table

GROWTH = ROOT / "artifacts/growth.json"
PLOT = ROOT / "artifacts/plots/growth.png"
BATCH = Candidate(
    "floor_batch",
    "repeated_photo.handler",
    FUNCTION_IMAGE,
    {"repeated_photo.py": PEERS / "floor/repeated_photo.py"},
    routes=False,
)
SAMPLE_INTERVAL = 250  # requests between two samples of memory
SETTLED = 500  # requests after which memory is stable; each photo was sent at least five times
OTHER_INTERVAL = 25  # every 25th request sends another photo
LIMIT = 1.05  # RSS after the last request, relative to RSS after SETTLED; more is a leak
Figures = Mapping[str, Any]
Clock = Callable[[Sandbox, bytes], float]


@dataclass(frozen=True)
class Plan:
    """How often the benchmark repeats, and which sizes it measures."""

    starts: int  # cold starts per size
    warm: int  # requests after each cold start
    requests: int  # consecutive requests to one more function
    megapixels: tuple[float, ...] = (0.1, 0.2, 0.5, 1, 2, 4, 8, 12, 16, 20)
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)


FULL = Plan(starts=4, warm=20, requests=10_000)


def measure(launch: Launch, plan: Plan = FULL) -> dict[str, Any]:
    """Return the source, and growth by photo size, by batch size and by requests, each in the order of the plan.

    The image `pet-classifier:local` must exist. Raise `SandboxError` if the function does not start or answer, and
    `CommandFailed` if Docker fails.
    """
    source = identify(docker=launch is container)
    images.stage(BATCH)
    photos = [make_photo(megapixels) for megapixels in plan.megapixels]
    batches = [replace(first_photo().request, query=f"photos={count}") for count in plan.batches]
    by_size = measure_curve(FUNCTION, launch, [payload(photo.request) for photo in photos], time_invocation, plan)
    by_batch = measure_curve(BATCH, launch, [payload(request) for request in batches], read_run_ms, plan)
    return {
        **source,
        "photo_size": [
            {"megapixels": size, "bytes": len(photo.data)} | found
            for size, photo, found in zip(plan.megapixels, photos, by_size, strict=True)
        ],
        "batch": [
            {"photos": count, "ms_per_photo": round(found["ms"]["p50"] / count, 2)} | found
            for count, found in zip(plan.batches, by_batch, strict=True)
        ],
        "requests": summarize_memory(sample_memory(launch, plan.requests)),
    }


def make_photo(megapixels: float) -> BenchPhoto:
    """Return a photo of so many megapixels with the aspect ratio 4:3."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    return draw_photo(f"{megapixels:g}mp", width, round(width * 3 / 4))


def measure_curve(
    candidate: Candidate, launch: Launch, bodies: Sequence[bytes], clock: Clock, plan: Plan
) -> list[dict[str, Any]]:
    """Return warm milliseconds and peak RSS by body.

    Each function serves one body only, because its peak never falls.
    """
    ms: list[list[float]] = [[] for _ in bodies]
    rss_mb = [0.0 for _ in bodies]
    for index in tqdm([*range(len(bodies))] * plan.starts, desc=f"growth, {candidate.name}", unit="start"):
        with launch(candidate) as sandbox:
            clock(sandbox, bodies[index])  # cold
            ms[index] += [clock(sandbox, bodies[index]) for _ in range(plan.warm)]
            rss_mb[index] = max(rss_mb[index], sandbox.peak_rss_mb())
    return [{"ms": quantiles(times, 50, 95), "rss_mb": round(mb, 1)} for times, mb in zip(ms, rss_mb, strict=True)]


def read_run_ms(sandbox: Sandbox, body: bytes) -> float:
    """Return the milliseconds of the network alone, as the function measures them; decoding is not batched."""
    response, _ = sandbox.invoke(body)
    try:
        return float(json.loads(to_response(response).body)["run_ms"])
    except (KeyError, ValueError) as error:
        raise SandboxError(f"responded with {response[:300]!r}; expected run_ms\n{sandbox.output()[-3000:]}") from error


def sample_memory(launch: Launch, requests: int) -> list[tuple[int, float]]:
    """Return pairs of (number of requests, RSS in MB).

    With dynamic thresholds, malloc keeps a varying share of the memory of a big photo, so that RSS varies by 4 %. Hence
    each of the four other photos is sent equally often between the samples that are compared.
    """
    usual, *others = (payload(each.request) for each in bench_photos())
    other = cycle(others)
    samples = []
    with launch(FUNCTION) as sandbox:
        for n in trange(1, requests + 1, desc="growth, consecutive", unit="request"):
            time_invocation(sandbox, next(other) if n % OTHER_INTERVAL == 1 else usual)
            if n % SAMPLE_INTERVAL == 0:
                samples.append((n, round(sandbox.rss_mb(), 2)))
    return samples


def summarize_memory(samples: Sequence[tuple[int, float]]) -> dict[str, Any]:
    """Return the samples and the growth since SETTLED requests. Raise `KeyError` without a sample at SETTLED."""
    settled, last = dict(samples)[SETTLED], samples[-1][1]
    return {"rss_mb": samples, f"after_{SETTLED}": settled, "after_last": last, "growth": round(last / settled, 4)}


def write(figures: Figures) -> None:
    """Write the figures as JSON and as a plot."""
    GROWTH.write_text(json.dumps(figures, indent=2) + "\n")
    plot(figures, PLOT, SETTLED, LIMIT)


def render(figures: Figures) -> str:
    """Return Markdown: tables by photo size and batch size, and a sentence on consecutive requests."""
    sizes = [
        (f"{f['megapixels']:g} MP", f"{f['bytes'] / 1e6:.2f}", *_cells(f["ms"]), f"{f['rss_mb']:.0f}")
        for f in figures["photo_size"]
    ]
    batches = [
        (f"{f['photos']}", *_cells(f["ms"]), f"{f['ms_per_photo']:.2f}", f"{f['rss_mb']:.0f}") for f in figures["batch"]
    ]
    return "\n\n".join((
        table(("JPEG", "MB", "p50 ms", "p95 ms", "peak RSS, MB"), sizes),
        table(("photos per run", "p50 ms", "p95 ms", "ms per photo", "peak RSS, MB"), batches),
        _verdict(figures["requests"]),
        f"Measured {cite(figures)}",
    ))  # fmt: skip


def _cells(ms: Mapping[str, float]) -> tuple[str, str]:
    return f"{ms['p50']:.1f}", f"{ms['p95']:.1f}"


def _verdict(requests: Figures) -> str:
    settled, last, factor = requests[f"after_{SETTLED}"], requests["after_last"], requests["growth"]
    met = "met" if factor <= LIMIT else "**missed**"
    return (
        f"RSS is {settled:.1f} MB after {SETTLED} requests and {last:.1f} MB after {requests['rss_mb'][-1][0]:,} "
        f"consecutive requests: {factor:.3f} x, limit {LIMIT} x, {met}."
    )


def main() -> int:
    docker = has_docker()
    try:
        if docker:
            images.build(FUNCTION)
        figures = measure(container if docker else process)
    except LAUNCH_ERRORS as error:
        print(f"growth: {error}", file=sys.stderr)
        return 1
    write(figures)
    print(render(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
