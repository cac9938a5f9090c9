"""`make bench`: measure all candidates, interleaved, and write artifacts/bench.json.

With Docker, each run of a candidate is a new container. Without Docker, it is a process on one core, and image
sizes, cold starts from disk and HTTP throughput are not measured. QUICK=1 repeats less. The machine should be idle.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm, trange

from infra.bench import images, tables, throughput
from infra.bench.candidates import CANDIDATES, FUNCTION, PLAIN
from infra.bench.hardware import identify
from infra.bench.measure import Launch, Repeats, Run, estimate_cost, measure_from_disk, measure_run, median, summarize
from infra.bench.photos import BenchPhoto, bench_photos, first_photo
from infra.bench.sandbox import LAUNCH_ERRORS, SandboxError, container, has_docker, process
from infra.emulator.process import CommandFailed


def main() -> int:
    """Run the benchmark; return 1 if a candidate cannot be built or started."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, under ten minutes")
    quick = parser.parse_args().quick
    docker = has_docker()
    print(
        f"bench: {'containers' if docker else 'no Docker engine found; using processes on one core'}", file=sys.stderr
    )
    try:
        prepare(docker=docker)
        figures = compare(quick=quick, docker=docker)
    except LAUNCH_ERRORS as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    save(figures)
    for name, measure in extras(quick=quick).items() if docker else ():
        try:
            figures[name] = measure()
        except (SandboxError, CommandFailed, throughput.ThroughputError, OSError) as error:
            print(f"bench: {name} is skipped: {error}", file=sys.stderr)
        save(figures)
    return 0


def save(figures: dict[str, Any]) -> None:
    """Write artifacts/bench.json."""
    tables.BENCH.write_text(json.dumps(figures, indent=2) + "\n")


def prepare(*, docker: bool) -> None:
    """Create the weights, build contexts and images of all candidates."""
    images.make_weights()
    servers = {each.candidate.name: each.candidate for each in throughput.SERVERS.values()} if docker else {}
    for candidate in (bar := tqdm([*CANDIDATES, *servers.values()], desc="build")):
        bar.set_postfix_str(candidate.name)
        images.stage(candidate)
        if docker:
            images.build(candidate)
    if docker:
        images.build_load()


def compare(*, quick: bool, docker: bool) -> dict[str, Any]:
    """Measure all candidates and return the content of artifacts/bench.json."""
    source = identify(docker=docker)  # before the measurement: later edits are not what runs
    photos = bench_photos()
    repeats = Repeats(first=20, others=5, health=10) if quick else Repeats(first=100, others=10, health=30)
    runs = measure_all(container if docker else process, photos, repeats, rounds=4 if quick else 10)
    sizes = {image: images.unpacked_mb(image) for image in {each.image for each in CANDIDATES}} if docker else {}
    return {
        **source,
        "quick": quick,
        "photos": {p.name: {"width": p.width, "height": p.height, "bytes": len(p.data)} for p in photos},
        "candidates": {each.name: summarize(runs[each.name], sizes.get(each.image)) for each in CANDIDATES},
        "cost": {name: estimate_cost(runs[name]) for name in ("function", "torch_simple_cnn")},
        **dict.fromkeys(extras(quick=quick)),
    }


def measure_all(launch: Launch, photos: tuple[BenchPhoto, ...], repeats: Repeats, rounds: int) -> dict[str, list[Run]]:
    """Measure each candidate once per round, in a random order, so that other load affects all of them equally.

    The first round fills the page cache and is not counted.
    """
    runs: dict[str, list[Run]] = {each.name: [] for each in CANDIDATES}
    for turn in trange(rounds + 1, desc="bench", unit="round"):
        for candidate in random.Random(turn).sample(CANDIDATES, len(CANDIDATES)):
            run = measure_run(candidate, launch, photos, repeats)
            if turn:
                runs[candidate.name].append(run)
    return runs


def extras(*, quick: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return the measurements that need Docker, by name; each can fail without affecting the others."""
    photo = first_photo()
    return {
        "from_disk": lambda: measure_cold_starts_from_disk(photo, rounds=1 if quick else 10),
        "compressed_mb": lambda: {each.name: images.compressed_mb(each.image) for each in (FUNCTION, PLAIN)},
        "throughput": lambda: throughput.measure_throughput(photo, 2 if quick else 4, 300),
    }


def measure_cold_starts_from_disk(photo: BenchPhoto, rounds: int) -> dict[str, Any]:
    """Measure cold starts with a dropped page cache, as on a machine that has never run the function."""
    starts: dict[str, list[tuple[float, float]]] = {each.name: [] for each in CANDIDATES}
    for _ in trange(rounds, desc="from disk", unit="round"):
        for candidate in CANDIDATES:
            starts[candidate.name].append(measure_from_disk(candidate, container, photo))
    return {
        name: {"cold_ms": median(ms for ms, _ in found), "read_mb": median(mb for _, mb in found), "n": rounds}
        for name, found in starts.items()
    }


if __name__ == "__main__":
    sys.exit(main())
