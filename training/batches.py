"""Load photos in batches, with PyTorch's data loader."""

import random
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from training.photo_dataset import Photos, Pixels

Batches = DataLoader[tuple[Pixels, int]]  # yields uint8 (N, 3, S, S), int64 (N,)


def loader(
    photos: Photos | Dataset[tuple[Pixels, int]],
    batch_size: int,
    workers: int,
    sampler: DistributedSampler[Any] | None = None,
) -> Batches:
    """Return batches of uint8 (N, 3, S, S) and int64 (N,), in order or, for training, in the order of the sampler.

    Each epoch starts new workers with seeds drawn from torch's generator, so that the augmentation of an epoch does
    not depend on earlier epochs.
    """
    return DataLoader(
        photos,  # type: ignore[arg-type]  # `Photos` is a map-style dataset without PyTorch's base class
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
