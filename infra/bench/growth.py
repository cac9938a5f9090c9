"""How latency and memory grow: with the photo, with the batch, and with the requests that one function has answered.

Writes artifacts/growth.json and a picture of it, and prints the tables. Takes five idle minutes, with --quick one.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

from tqdm import tqdm, trange

from infra.bench import images
from infra.bench.candidates import OURS, OURSELVES, PEERS, Candidate
from infra.bench.growth_plots import plot
from infra.bench.hardware import commit, hardware
from infra.bench.measure import Launch, payload, quantiles, timed
from infra.bench.photos import BenchPhoto, bench_photos
from infra.bench.photos import photo as bench_photo
from infra.bench.sandbox import Sandbox, SandboxError, container, has_docker, process
from infra.emulator.response import to_response
from infra.emulator.runtime import ROOT, RuntimeDied, RuntimeNotFound
from infra.markdown import table as markdown_table

GROWTH = ROOT / "artifacts/growth.json"
PLOT = ROOT / "artifacts/plots/growth.png"
BATCH = Candidate("floor_batch", "batch.handler", OURS, {"batch.py": PEERS / "floor/batch.py"}, routes=False)
EVERY = 250  # requests between two looks at the memory
SETTLED = 500  # requests; by then every photo came five times
OTHER = 25  # one request in so many brings another photo than the usual one
LIMIT = 1.05  # RSS after the last request to RSS after SETTLED; more is a leak
Figures = Mapping[str, Any]
Clock = Callable[[Sandbox, bytes], float]


@dataclass(frozen=True)
class Plan:
    lives: int  # fresh functions for each size
    warm: int  # requests to each of them, after the first
    requests: int  # in a row, to one more function
    megapixels: tuple[float, ...] = (0.1, 0.2, 0.5, 1, 2, 4, 8, 12, 16, 20)
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)


FULL = Plan(lives=4, warm=20, requests=10_000)
QUICK = Plan(lives=1, warm=10, requests=2_000)


def measure(launch: Launch, *, quick: bool) -> dict[str, Any]:
    """Raises SandboxError. The image of `ours` has to be there."""
    return {
        "hardware": hardware(docker=launch is container),
        "commit": commit(),
        "quick": quick,
        **growth(launch, QUICK if quick else FULL),
    }


def growth(launch: Launch, plan: Plan) -> dict[str, Any]:
    """The three parts, each in the order of the plan."""
    images.stage(BATCH)
    photos = [photo_of(megapixels) for megapixels in plan.megapixels]
    batches = [replace(bench_photos()[0].request, query=f"photos={count}") for count in plan.batches]
    by_size = curve(OURSELVES, launch, [payload(photo.request) for photo in photos], timed, plan)
    by_batch = curve(BATCH, launch, [payload(request) for request in batches], run_ms, plan)
    return {
        "photo_size": [
            {"megapixels": size, "bytes": len(photo.data)} | found
            for size, photo, found in zip(plan.megapixels, photos, by_size, strict=True)
        ],
        "batch": [
            {"photos": count, "ms_per_photo": round(found["ms"]["p50"] / count, 2)} | found
            for count, found in zip(plan.batches, by_batch, strict=True)
        ],
        "requests": leak(memory(launch, plan.requests)),
    }


def photo_of(megapixels: float) -> BenchPhoto:
    """4:3, as cameras make them."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    return bench_photo(f"{megapixels:g}mp", width, round(width * 3 / 4))


def curve(
    candidate: Candidate, launch: Launch, bodies: Sequence[bytes], clock: Clock, plan: Plan
) -> list[dict[str, Any]]:
    """Warm milliseconds and the peak of memory, by body. A life meets one body only, since a peak never falls."""
    ms: list[list[float]] = [[] for _ in bodies]
    rss_mb = [0.0 for _ in bodies]
    for place in tqdm([*range(len(bodies))] * plan.lives, desc=f"growth, {candidate.name}", unit="life"):
        with launch(candidate) as sandbox:
            clock(sandbox, bodies[place])  # cold
            ms[place] += [clock(sandbox, bodies[place]) for _ in range(plan.warm)]
            rss_mb[place] = max(rss_mb[place], sandbox.peak_rss_mb())
    return [{"ms": quantiles(times, 50, 95), "rss_mb": round(mb, 1)} for times, mb in zip(ms, rss_mb, strict=True)]


def run_ms(sandbox: Sandbox, body: bytes) -> float:
    """Of the network alone, by the function's own clock: decoding does not come in batches."""
    answer, _ = sandbox.invoke(body)
    try:
        return float(json.loads(to_response(answer).body)["run_ms"])
    except (KeyError, ValueError) as error:
        raise SandboxError(f"answered {answer[:300]!r}, expected run_ms\n{sandbox.output()[-3000:]}") from error


def memory(launch: Launch, requests: int) -> list[tuple[int, float]]:
    """(requests so far, RSS in MB).

    Where malloc moves its thresholds by itself it keeps more or less of what a big photo took: RSS wavers by 4 %. So
    the four other photos come equally often between the looks that are compared.
    """
    usual, *others = (payload(each.request) for each in bench_photos())
    other = cycle(others)
    looks = []
    with launch(OURSELVES) as sandbox:
        for n in trange(1, requests + 1, desc="growth, in a row", unit="request"):
            timed(sandbox, next(other) if n % OTHER == 1 else usual)
            if n % EVERY == 0:
                looks.append((n, round(sandbox.rss_mb(), 2)))
    return looks


def leak(looks: Sequence[tuple[int, float]]) -> dict[str, Any]:
    """Raises KeyError without a look after SETTLED requests."""
    settled, last = dict(looks)[SETTLED], looks[-1][1]
    return {"rss_mb": looks, f"after_{SETTLED}": settled, "after_last": last, "growth": round(last / settled, 4)}


def write(figures: Figures) -> None:
    GROWTH.write_text(json.dumps(figures, indent=2) + "\n")
    plot(figures, PLOT)


def table(figures: Figures) -> str:
    """Markdown: a table each for photo and batch, a sentence for the requests in a row."""
    sizes = [
        (f"{f['megapixels']:g} MP", f"{f['bytes'] / 1e6:.2f}", *_cells(f["ms"]), f"{f['rss_mb']:.0f}")
        for f in figures["photo_size"]
    ]
    batches = [
        (f"{f['photos']}", *_cells(f["ms"]), f"{f['ms_per_photo']:.2f}", f"{f['rss_mb']:.0f}") for f in figures["batch"]
    ]
    return "\n\n".join((
        markdown_table(("JPEG", "MB", "p50 ms", "p95 ms", "peak RSS, MB"), sizes),
        markdown_table(("photos in one run", "p50 ms", "p95 ms", "ms a photo", "peak RSS, MB"), batches),
        _verdict(figures["requests"]),
        f"On {figures['hardware']}; commit `{figures['commit']}`.",
    ))  # fmt: skip


def _cells(ms: Mapping[str, float]) -> tuple[str, str]:
    return f"{ms['p50']:.1f}", f"{ms['p95']:.1f}"


def _verdict(requests: Figures) -> str:
    settled, last, factor = requests[f"after_{SETTLED}"], requests["after_last"], requests["growth"]
    met = "met" if factor <= LIMIT else "**missed**"
    return (
        f"RSS is {settled:.1f} MB after {SETTLED} requests and {last:.1f} MB after {requests['rss_mb'][-1][0]:,} "
        f"in a row: {factor:.3f} x, limit {LIMIT} x, {met}."
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"fewer lives, and {QUICK.requests:,} requests in a row")
    quick, docker = parser.parse_args(arguments).quick, has_docker()
    try:
        if docker:
            images.build(OURSELVES)
        figures = measure(container if docker else process, quick=quick)
    except (SandboxError, images.BuildFailed, RuntimeNotFound, RuntimeDied) as error:
        print(f"growth: {error}", file=sys.stderr)
        return 1
    write(figures)
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
