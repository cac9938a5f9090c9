"""The manifest as a torch Dataset: photos are read where they lie, decoded by the serving code."""

import csv
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from lambda_app.preprocess import decode, preprocess
from training.config import Augment
from training.prepare import MANIFEST, PHOTOS, inspect
from training.source import Source, discover

Pixels = torch.Tensor | NDArray[np.uint8]  # (3, S, S), 0..255


class Photos(Dataset[tuple[Pixels, int]]):
    """Pairs of pixels and label index; `load` turns a photo's bytes into pixels."""

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


class Augmented:
    """Bytes to an augmented (3, S, S): crop and flip before anything costly, noise on every fourth photo."""

    def __init__(self, params: Augment, image_size: int) -> None:
        self.transform = v2.Compose([
            v2.RandomResizedCrop(image_size, scale=params.crop_scale, interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(params.flip),
            v2.RandomRotation(params.rotation, interpolation=v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(brightness=params.brightness, contrast=params.contrast),
            v2.PILToTensor(),
            v2.RandomApply([v2.GaussianNoise(sigma=params.noise)], p=0.25),
        ])  # fmt: skip

    def __call__(self, data: bytes) -> torch.Tensor:
        tensor: torch.Tensor = self.transform(decode(data))
        return tensor


class Upright:
    """Bytes to (3, S, S) exactly as served."""

    def __init__(self, image_size: int) -> None:
        self.image_size = image_size

    def __call__(self, data: bytes) -> NDArray[np.uint8]:
        return preprocess(data, self.image_size).pixels


def read_manifest(path: Path = MANIFEST) -> list[dict[str, str]]:
    """The photos that have a split."""
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"]]


def read_split(rows: list[dict[str, str]], split: str, load: Callable[[bytes], Pixels]) -> Photos:
    labels = {row["id"]: row["label"] for row in rows if row["split"] == split}
    return Photos(Source(PHOTOS), labels, class_names(rows), load)


def read_folder(path: Path, class_names: list[str], load: Callable[[bytes], Pixels]) -> Photos:
    """Any archive or folder of classes; of its readable photos those of a class that the model knows, maybe none."""
    source = Source(path)
    rows = inspect(source, discover(source.names()))
    labels = {row.id: row.label for row in rows if not row.reason and row.label in class_names}
    return Photos(source, labels, class_names, load)


def class_names(rows: list[dict[str, str]]) -> list[str]:
    return sorted({row["label"] for row in rows})


def loader(
    photos: Photos, batch_size: int, workers: int, *, shuffle: bool, seed: int = 0
) -> DataLoader[tuple[Pixels, int]]:
    """Batches of uint8 (N, 3, S, S) and int64 (N,). Order and augmentation follow from the seed."""
    return DataLoader(
        photos,
        batch_size,
        shuffle=shuffle,
        drop_last=shuffle and len(photos) > batch_size,  # batch norm on a remainder of one or two is noise
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(seed),
        worker_init_fn=_seed_worker,
    )


def _seed_worker(_worker: int) -> None:
    # torchvision draws from torch's generator, which is seeded already; NumPy and random are not.
    np.random.seed(torch.initial_seed() % 2**32)
    random.seed(torch.initial_seed())
