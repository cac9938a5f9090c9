"""Load the photos of each epoch: repeat a small set, optionally draw classes equally often, and split each batch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import ConcatDataset, DistributedSampler

from training import config
from training.augment import Augmenter
from training.batches import Batches, loader
from training.distributed import World
from training.interruption import UserError
from training.photo_dataset import Photos, Pixels, Preprocessor, read_split
from training.split import Row


@dataclass(frozen=True)
class Data:
    """The photos of an epoch in batches. Each training batch has only this process's part."""

    train: Batches
    sampler: DistributedSampler[Any]  # shuffles the training photos
    val: Batches


def load_data(
    rows: list[Row], params: config.Train, augment: config.Augment, validation: config.Evaluate, world: World
) -> Data:
    """Return augmented training photos at the image size of training, and validation photos as in serving."""
    photos = read_split(rows, "train", Augmenter(augment, params.image_size))
    train_batches, sampler = shard(repeat_photos(photos, params), params, world)
    val = read_split(rows, "val", Preprocessor(validation.image_size))
    return Data(train_batches, sampler, loader(val, validation.batch_size, params.workers))


def repeat_photos(photos: Photos, params: config.Train) -> ConcatDataset[tuple[Pixels, int]]:
    """Repeat a small set of photos within each epoch, so that a full training has at least `min_steps` steps."""
    return ConcatDataset([photos] * count_repeats(len(photos), params))  # type: ignore[list-item]  # see training.batches.loader


def count_repeats(photos: int, params: config.Train) -> int:
    """Return how many times an epoch repeats a training split of `photos` photos."""
    batches_per_epoch = math.ceil(params.min_steps / params.epochs)
    return math.ceil(batches_per_epoch * params.batch_size / photos)


def shard(
    photos: ConcatDataset[tuple[Pixels, int]], params: config.Train, world: World
) -> tuple[Batches, DistributedSampler[Any]]:
    """Return this process's part of each batch, and the sampler that shuffles it.

    Raise `UserError` if the batch size is not a multiple of the number of processes.
    """
    if params.batch_size % world.size:
        raise UserError(f"train.batch_size is {params.batch_size}; expected a multiple of the {world.size} processes")
    kind = BalancedSampler if params.balance_classes else DistributedSampler
    sampler: DistributedSampler[Any] = kind(photos, world.size, world.rank, seed=params.seed)
    return loader(photos, params.batch_size // world.size, params.workers, sampler=sampler), sampler


class BalancedSampler(DistributedSampler[Any]):
    """Draw photos with replacement, as many per epoch as there are, and each class with the same probability."""

    dataset: ConcatDataset[Any]  # of `Photos`

    def __iter__(self) -> Iterator[int]:
        labels = torch.tensor([label for photos in self.dataset.datasets for label in photos.labels])  # type: ignore[attr-defined]  # all are `Photos`
        weights = 1.0 / labels.bincount()[labels]
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        drawn = torch.multinomial(weights, self.total_size, replacement=True, generator=generator).tolist()
        return iter(drawn[self.rank : self.total_size : self.num_replicas])
