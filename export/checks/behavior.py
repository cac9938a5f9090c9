"""Measure whether predictions stay the same after harmless edits of the photo, and in other batches."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from tqdm import tqdm

from export.checks.parity import largest_difference
from lambda_app.classifier import Classifier
from lambda_app.preprocess import decode, preprocess
from training.photo_dataset import Photos

Edit = Callable[[Image.Image], Image.Image]
BATCH = 16
# Largest allowed difference of a probability when only the batch around a photo changes.
TOLERANCE = {"repeated_run": 0.0, "other_order": 0.0, "other_batch_size": 1e-5}


def _shrink(image: Image.Image) -> Image.Image:
    """Scale the short side down to 64 pixels, as in a thumbnail."""
    scale = min(1.0, 64 / min(image.size))
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


EDITS: dict[str, Edit] = {
    "mirrored": ImageOps.mirror,
    "rotated_10_degrees": lambda image: image.rotate(10, Image.Resampling.BICUBIC),
    "brighter_30_percent": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "darker_30_percent": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "jpeg_quality_40": lambda image: decode(_encode(image, "JPEG", quality=40)),
    "gray": lambda image: image.convert("L"),
    "short_side_64": _shrink,
}


def measure_agreement(classifier: Classifier, photos: Photos) -> dict[str, float]:
    """Return, for each edit, the share of photos that keep their predicted class, in [0, 1]."""
    kept: dict[str, list[bool]] = {name: [] for name in EDITS}
    for photo in tqdm(photos.ids, desc="behavior", unit="photo"):
        image = decode(photos.source.read(photo))
        original, *edited = _predict_labels(classifier, [image, *(edit(image) for edit in EDITS.values())])
        for name, label in zip(EDITS, edited, strict=True):
            kept[name].append(bool(label == original))
    return {name: float(np.mean(values)) for name, values in kept.items()}


def _predict_labels(classifier: Classifier, images: list[Image.Image]) -> NDArray[np.int64]:
    """Return the predicted labels (N,), from encoded bytes through the serving path.

    The encoding is BMP: it is lossless and quick to write.
    """
    size = classifier.metadata.image_size
    pixels = [preprocess(_encode(image, "BMP"), size).pixels for image in images]
    return np.asarray(classifier.run(np.stack(pixels)).probabilities.argmax(1))


def _encode(image: Image.Image, image_format: str, **options: int) -> bytes:
    buffer = BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def measure_consistency(classifier: Classifier, pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Return the largest difference of a probability on (N, 3, S, S) photos, for each key of `TOLERANCE`."""
    batches = [pixels[i : i + BATCH] for i in range(0, len(pixels), BATCH)]
    first, repeated = (np.concatenate([classifier.run(batch).probabilities for batch in batches]) for _ in range(2))
    reversed_order = np.concatenate([classifier.run(batch[::-1]).probabilities[::-1] for batch in batches])
    single = np.concatenate([classifier.run(photo[None]).probabilities for photo in pixels])
    return {
        "repeated_run": largest_difference(first, repeated),
        "other_order": largest_difference(first, reversed_order),
        "other_batch_size": largest_difference(first, single),
    }
