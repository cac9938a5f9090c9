"""`make bench-input`: measure whether loading photos keeps up with training.

Alternates between training on photos and on one batch in memory, so that other load on the machine affects both
equally. The first steps of each measurement are not counted: the workers decode ahead while the batch in memory is
used, and would start with an advantage.
"""

import argparse
from collections.abc import Iterator
from itertools import islice, repeat
from statistics import median
from typing import Any

import torch
from tqdm import trange

from training import config
from training.augment import Augmenter
from training.batches import Batches
from training.distributed import join_world
from training.figures import write_figures
from training.manifest import list_classes, read_manifest
from training.optimize import build_networks, build_state, train_epoch
from training.photo_dataset import read_split
from training.sampling import repeat_photos, shard
from training.state import keep_freed_memory
from training.tools.results_page import describe_hardware, render_input
from training.train import seed_everything

Batch = tuple[torch.Tensor, torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20, help="steps in each measurement")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each kind")
    args = parser.parse_args()
    keep_freed_memory()
    results = measure(config.load(config.Train), args.steps, args.rounds)
    write_figures("input", results)
    print(render_input(results))


def measure(params: config.Train, steps: int, rounds: int) -> dict[str, Any]:
    """Return the images per second of each round, from photos and from memory."""
    rows = read_manifest()
    seed_everything(params.seed)
    photos = read_split(rows, "train", Augmenter(config.load(config.Augment), params.image_size))
    world = join_world()
    model, teacher = build_networks(params, len(list_classes(rows)), world.device)
    uncounted = 2 * params.workers + 1  # torch prefetches two batches per worker
    state = build_state(model, params, steps=2 * rounds * (uncounted + steps))

    training_batches, _ = shard(repeat_photos(photos, params), params, world)
    from_photos = repeat_batches(training_batches)
    sources = {"photos": from_photos, "memory": repeat(next(from_photos))}
    speeds: dict[str, list[float]] = {name: [] for name in sources}
    for _ in trange(rounds, desc="bench-input", unit="round"):
        for name, batches in sources.items():
            train_epoch(model, teacher, islice(batches, uncounted), state, params)
            epoch = train_epoch(model, teacher, islice(batches, steps), state, params)
            speeds[name].append(epoch["images_per_second"])
    return {
        **{
            key: getattr(params, key)
            for key in ("architecture", "image_size", "distillation_weight", "batch_size", "workers")
        },
        "hardware": describe_hardware(),
        "steps": steps,
        "images_per_second": speeds,
        "share": relative_speed(speeds),
    }


def repeat_batches(batches: Batches) -> Iterator[Batch]:
    while True:
        yield from batches


def relative_speed(speeds: dict[str, list[float]]) -> float:
    """Return the speed from photos as a share of the speed from memory: the median of the rounds' shares."""
    return median(photos / memory for photos, memory in zip(speeds["photos"], speeds["memory"], strict=True))


if __name__ == "__main__":
    main()
