"""Draw training photos so that every class occurs equally often, independent of its number of photos."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import ConcatDataset, DistributedSampler

from training.data import Photos


class BalancedSampler(DistributedSampler[Any]):
    """Draws photos with replacement, as many per epoch as there are, and each class with the same probability."""

    dataset: ConcatDataset[Any]  # of `Photos`

    def __iter__(self) -> Iterator[int]:
        labels = torch.tensor([label for photos in self.dataset.datasets for label in list_labels(photos)])
        weights = 1.0 / labels.bincount()[labels]
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        drawn = torch.multinomial(weights, self.total_size, replacement=True, generator=generator).tolist()
        return iter(drawn[self.rank : self.total_size : self.num_replicas])


def list_labels(photos: Any) -> list[int]:
    if not isinstance(photos, Photos):
        raise TypeError(f"{type(photos).__name__} has no labels; expected Photos")
    return photos.labels
