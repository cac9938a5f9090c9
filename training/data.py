"""Read the photos of the manifest as a torch Dataset. The code that serves the model decodes them."""

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from lambda_app.preprocess import preprocess
from training.manifest import class_names
from training.source import PHOTOS, Source

Pixels = NDArray[np.uint8]  # (3, S, S), 0..255
Batches = DataLoader[tuple[Pixels, int]]  # yields uint8 (N, 3, S, S), int64 (N,)


class Photos(Dataset[tuple[Pixels, int]]):
    """Pairs of pixels and label index, sorted by name. `load` turns the bytes of a photo into pixels."""

    def __init__(
        self, source: Source, labels: dict[str, str], class_names: list[str], load: Callable[[bytes], Pixels]
    ) -> None:
        self.source, self.load = source, load
        self.ids = sorted(labels)
        self.labels = [class_names.index(labels[name]) for name in self.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        return self.load(self.source.read(self.ids[index])), self.labels[index]


class Preprocessor:
    """Turn the bytes of a photo into pixels (3, S, S), exactly as the function does when it serves."""

    def __init__(self, image_size: int) -> None:
        self.image_size = image_size

    def __call__(self, data: bytes) -> Pixels:
        return preprocess(data, self.image_size).pixels


def read_split(rows: list[dict[str, str]], split: str, load: Callable[[bytes], Pixels]) -> Photos:
    labels = {row["id"]: row["label"] for row in rows if row["split"] == split}
    return Photos(Source(PHOTOS), labels, class_names(rows), load)


def subsample(photos: Photos, count: int) -> Photos:
    """Return every k-th photo, with the smallest k that leaves at most `count`: 328 photos for 400 of 1,636.

    Photos are sorted by name, so every class is represented. A choice of exactly `count` photos would calibrate and
    quantize the released model on other photos, and change its bytes.
    """
    step = max(1, -(-len(photos) // count))
    chosen = copy.copy(photos)
    chosen.ids, chosen.labels = photos.ids[::step], photos.labels[::step]
    return chosen


def loader(
    photos: Dataset[tuple[Pixels, int]], batch_size: int, workers: int, sampler: DistributedSampler[Any] | None = None
) -> Batches:
    """Return batches of uint8 (N, 3, S, S) and int64 (N,), in order or, for training, in the order of the sampler.

    Each epoch starts new workers with seeds drawn from torch's generator, so that the augmentation of an epoch does
    not depend on earlier epochs.
    """
    return DataLoader(
        photos,
        batch_size,
        sampler=sampler,
        # Batch norm on one or two photos is noise, so a remainder under half a batch is dropped while training.
        drop_last=sampler is not None and len(sampler) > batch_size and len(sampler) % batch_size < batch_size / 2,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_seed_worker,
    )


def _seed_worker(_worker: int) -> None:
    # torch seeds only its own generator; the augmentation draws from these two.
    np.random.seed(torch.initial_seed() % 2**32)
    random.seed(torch.initial_seed())
