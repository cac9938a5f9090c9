"""Read the photos of the manifest as pixels and labels. The code that serves the model decodes them."""

import copy
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lambda_app.preprocess import preprocess
from training.manifest import list_classes
from training.source import PHOTOS, Source
from training.split import Row

Pixels = NDArray[np.uint8]  # (3, S, S), 0..255


class Photos:
    """Pairs of pixels and label index, sorted by name. `to_pixels` turns the bytes of a photo into pixels.

    PyTorch's loaders accept it as a map-style dataset.
    """

    def __init__(
        self, source: Source, labels: dict[str, str], class_names: list[str], to_pixels: Callable[[bytes], Pixels]
    ) -> None:
        self.source, self.to_pixels = source, to_pixels
        self.ids = sorted(labels)
        self.labels = [class_names.index(labels[name]) for name in self.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Pixels, int]:
        return self.to_pixels(self.source.read(self.ids[index])), self.labels[index]


class Preprocessor:
    """Turn the bytes of a photo into pixels (3, S, S), exactly as the function does when it serves."""

    def __init__(self, image_size: int) -> None:
        self.image_size = image_size

    def __call__(self, data: bytes) -> Pixels:
        return preprocess(data, self.image_size).pixels


def read_split(rows: list[Row], split: str, to_pixels: Callable[[bytes], Pixels]) -> Photos:
    labels = {row.id: row.label for row in rows if row.split == split}
    return Photos(Source(PHOTOS), labels, list_classes(rows), to_pixels)


def subsample(photos: Photos, count: int) -> Photos:
    """Return every k-th photo, with the smallest k that leaves at most `count`: 328 photos for 400 of 1,636.

    The photos are sorted by path, so each folder is represented by its share. A choice of exactly `count` photos would
    calibrate and quantize the released model on other photos, and change its bytes.
    """
    step = max(1, -(-len(photos) // count))
    chosen = copy.copy(photos)
    chosen.ids, chosen.labels = photos.ids[::step], photos.labels[::step]
    return chosen
