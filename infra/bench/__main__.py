"""`make bench`: measures every candidate, in turns, and writes artifacts/bench.json and the tables made from it.

With Docker each life is a fresh container; without, a process on one core (no image sizes, no HTTP throughput then).
QUICK=1 repeats less. The machine should have nothing else to do.
"""

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from tqdm import tqdm, trange

from infra.bench import images, tables, throughput
from infra.bench.candidates import CANDIDATES, OURS
from infra.bench.hardware import commit, hardware
from infra.bench.measure import Launch, Life, Repeats, cost, from_disk, live, median, summary
from infra.bench.photos import BenchPhoto, bench_photos
from infra.bench.sandbox import SandboxError, container, process


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, under ten minutes")
    quick = parser.parse_args().quick
    docker = has_docker()
    try:
        prepare(docker=docker)
        figures = measure(quick=quick, docker=docker)
    except (SandboxError, images.BuildFailed, throughput.ThroughputError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    tables.BENCH.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def has_docker() -> bool:
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def prepare(*, docker: bool) -> None:
    """Weights, build contexts and images."""
    images.weights()
    servers = {each.candidate.name: each.candidate for each in throughput.SERVERS.values()} if docker else {}
    for candidate in (bar := tqdm([*CANDIDATES, *servers.values()], desc="build")):
        bar.set_postfix_str(candidate.name)
        images.stage(candidate)
        if docker:
            images.build(candidate)
    if docker:
        images.build_load()


def measure(*, quick: bool, docker: bool) -> dict[str, Any]:
    measured_at = commit()  # now: what is edited meanwhile is not what runs
    photos = bench_photos()
    repeats = Repeats(first=20, others=5, health=10) if quick else Repeats(first=60, others=10, health=30)
    lives = lives_of_all(container if docker else process, photos, repeats, rounds=4 if quick else 12)
    sizes = {image: images.unpacked_mb(image) for image in {each.image for each in CANDIDATES}} if docker else {}
    candidates = {each.name: summary(lives[each.name], sizes.get(each.image)) for each in CANDIDATES}
    return {
        "hardware": hardware(docker=docker),
        "commit": measured_at,
        "quick": quick,
        "photos": {p.name: {"width": p.width, "height": p.height, "bytes": len(p.data)} for p in photos},
        "candidates": candidates,
        "from_disk": disk(photos[0], rounds=1 if quick else 5) if docker and os.geteuid() == 0 else None,
        "compressed_mb": {OURS: images.compressed_mb(OURS)} if docker else None,
        "cost": {name: cost(candidates[name]) for name in ("ours", "torch_simple_cnn")},
        "throughput": throughput.throughput(photos[0], 1 if quick else 5, 400) if docker else None,
    }


def lives_of_all(
    launch: Launch, photos: tuple[BenchPhoto, ...], repeats: Repeats, rounds: int
) -> dict[str, list[Life]]:
    """The candidates take turns, so that what else the machine does hits all of them."""
    lives: dict[str, list[Life]] = {each.name: [] for each in CANDIDATES}
    for turn in trange(rounds, desc="bench", unit="round"):
        for candidate in (*CANDIDATES[turn % len(CANDIDATES) :], *CANDIDATES[: turn % len(CANDIDATES)]):
            lives[candidate.name].append(live(candidate, launch, photos, repeats))
    return lives


def disk(photo: BenchPhoto, rounds: int) -> dict[str, Any]:
    """Cold starts with a dropped page cache: the start of a machine that never ran the function."""
    starts: dict[str, list[tuple[float, float]]] = {each.name: [] for each in CANDIDATES}
    for _ in trange(rounds, desc="from disk", unit="round"):
        for candidate in CANDIDATES:
            starts[candidate.name].append(from_disk(candidate, container, photo))
    return {
        name: {"cold_ms": median(ms for ms, _ in found), "read_mb": median(mb for _, mb in found), "n": rounds}
        for name, found in starts.items()
    }


if __name__ == "__main__":
    sys.exit(main())
