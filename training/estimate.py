"""Estimate the minutes of a training run from the CPU time that its decoder and its network take for a few photos.

CPU time does not include the time of other programs, so the estimate is that of an otherwise idle machine. It divides
the work by the number of cores: workers decode photos while the network trains, and all cores share each step.
"""

import copy
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from training import config
from training.augment import Augmenter
from training.model import build
from training.optimize import build_state, train_epoch
from training.photo_dataset import Preprocessor
from training.prepare import inspect_photo
from training.sampling import count_repeats
from training.source import Source, SourceError
from training.split import Row

Item = TypeVar("Item")
TRIAL = 32  # photos; a step with fewer would be dominated by the optimizer, which costs the same for a full batch
START_S = 20.0  # CPU seconds in which the stages import PyTorch and MLflow, and load the network
FORWARD = 1 / 3  # part of a step: the backward pass takes twice as long as the forward pass


@dataclass(frozen=True)
class Minutes:
    """How long preparing and training take."""

    shortest: float  # if validation is perfect from the first epoch on
    longest: float  # with all epochs

    def __str__(self) -> str:
        if self.shortest == self.longest:
            return f"{self.longest:.1f} minutes to prepare and train on the CPU"
        return (
            f"{self.shortest:.1f} minutes to prepare and train on the CPU if validation finds no mistake, as easy "
            f"photos allow; {self.longest:.1f} with all epochs"
        )


def estimate(source: Source, photos: Sequence[Row]) -> Minutes:
    params, size = config.load(config.Train), config.load(config.Evaluate).image_size
    chosen = photos[:: math.ceil(len(photos) / TRIAL)]
    sample = [row for row in chosen if not inspect_photo(source, row.id, row.label).reason]
    if not sample:
        raise SourceError(f"{source.path}: none of {len(chosen)} photos can be decoded; `make train` lists the reasons")
    files = [source.read(row.id) for row in sample]
    augment = Augmenter(config.load(config.Augment), params.image_size)
    inspecting = time_each(lambda row: inspect_photo(source, row.id, row.label), sample)
    augmenting, preprocessing = time_each(augment, files), time_each(Preprocessor(size), files)
    pixels = torch.from_numpy(np.stack([augment(data) for data in files]))
    step = time_step(pixels, params, len({row.label for row in photos})) / len(files)
    forward = FORWARD * step * (size / params.image_size) ** 2
    counts = {split: sum(row.split == split for row in photos) for split in ("train", "val")}
    training = count_repeats(counts["train"], params) * counts["train"] * (augmenting + step)
    epoch = training + counts["val"] * (preprocessing + forward)
    start, cores = START_S + len(photos) * inspecting, len(os.sched_getaffinity(0))
    return Minutes(
        *((start + n * epoch) / cores / 60 for n in (min(params.perfect_epochs, params.epochs), params.epochs))
    )


def time_each(work: Callable[[Item], object], items: Sequence[Item]) -> float:
    """Return the CPU seconds per item on this thread. The first call is not counted: it imports and allocates."""
    work(items[0])
    start = time.thread_time()
    for item in items:
        work(item)
    return (time.thread_time() - start) / len(items)


def time_step(pixels: torch.Tensor, params: config.Train, classes: int) -> float:
    """Return the CPU seconds of one step on one thread: network, teacher, optimizer and moving average.

    The weights do not matter, so none are loaded. The first step allocates memory, so the second one counts.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network = build(params.architecture, classes, params.dropout).to(memory_format=torch.channels_last)
    network.freeze_batch_norm = params.freeze_batch_norm
    teacher = copy.deepcopy(network).eval() if params.distillation_weight and params.weights else None
    state = build_state(network, params, steps=10)
    labels = torch.arange(len(pixels)) % classes
    seconds = 0.0
    for _ in range(2):
        start = time.process_time()
        train_epoch(network, teacher, [(pixels, labels)], state, params)
        seconds = time.process_time() - start
    torch.set_num_threads(threads)
    return seconds
