"""`make bench-input`: do the photos keep up? Training as it is against the same steps on a batch in memory.

The two take turns, so that what else the machine does hits both. Before each measurement a few steps are not counted:
the workers decode ahead while the batch in memory is used, and would start with a lead.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import islice, repeat
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.data import DistributedSampler
from tqdm import trange

from training import config
from training.augment import Augmented
from training.data import Batches, class_names, loader, read_manifest, read_split
from training.distributed import join
from training.optimize import make_networks, make_parts, train_epoch
from training.state import keep_memory
from training.tools.results_page import hardware, insert
from training.train import seed_everything

METRICS = Path("artifacts/metrics/input.json")
Batch = tuple[torch.Tensor, torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of either kind")
    args = parser.parse_args()
    keep_memory()
    figures = measure(config.load(config.Train), args.steps, args.rounds)
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(figures, indent=2) + "\n")
    insert("input", render(figures))


def measure(params: config.Train, steps: int, rounds: int) -> dict[str, Any]:
    """Images per second of each round, from photos and from memory."""
    rows = read_manifest()
    seed_everything(params.seed)
    photos = read_split(rows, "train", Augmented(config.load(config.Augment), params.image_size))
    model, teacher = make_networks(params, len(class_names(rows)), join().device)
    uncounted = 2 * params.workers + 1  # torch's prefetch_factor is 2
    parts = make_parts(model, params, steps=2 * rounds * (uncounted + steps))

    shuffled: DistributedSampler[Any] = DistributedSampler(photos, num_replicas=1, rank=0, seed=params.seed)
    from_photos = endless(loader(photos, params.batch_size, params.workers, sampler=shuffled))
    sources = {"photos": from_photos, "memory": repeat(next(from_photos))}
    speeds: dict[str, list[float]] = {name: [] for name in sources}
    for _ in trange(rounds, desc="bench-input", unit="round"):
        for name, batches in sources.items():
            train_epoch(model, teacher, islice(batches, uncounted), parts, params)
            epoch = train_epoch(model, teacher, islice(batches, steps), parts, params)
            speeds[name].append(epoch["images_per_second"])
    return {
        **{key: getattr(params, key) for key in ("architecture", "image_size", "recall", "batch_size", "workers")},
        "hardware": hardware(),
        "steps": steps,
        "images_per_second": speeds,
        "share": share(speeds),
    }


def endless(batches: Batches) -> Iterator[Batch]:
    while True:
        yield from batches


def share(speeds: dict[str, list[float]]) -> float:
    """Of the speed from memory that is reached from photos: the median over the rounds, each by itself."""
    return median(photos / memory for photos, memory in zip(speeds["photos"], speeds["memory"], strict=True))


def render(figures: dict[str, Any]) -> str:
    speeds = figures["images_per_second"]
    photos, memory = (f"{median(speeds[n]):.1f} ({min(speeds[n]):.1f} to {max(speeds[n]):.1f})" for n in speeds)
    return (
        f"Training `{figures['architecture']}` at {figures['image_size']} px takes {photos} images/s from photos, read "
        f"by {figures['workers']} workers, and {memory} from a batch in memory: reading photos leaves "
        f"**{100 * figures['share']:.0f} %** of the speed. Medians (and range) of {len(speeds['photos'])} rounds of "
        f"{figures['steps']} steps on {figures['hardware']}.\n"
    )


if __name__ == "__main__":
    main()
