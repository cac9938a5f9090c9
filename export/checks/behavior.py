"""What a photo may go through without another answer: edits that keep what it shows, and company in its batch."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from tqdm import tqdm

from lambda_app.classifier import Classifier
from lambda_app.preprocess import decode, preprocess
from training.data import Photos

Edit = Callable[[Image.Image], Image.Image]
BATCH = 16
# Of a probability, when only the company of a photo changes.
TOLERANCE = {"asked_again": 0.0, "other_order": 0.0, "other_batch_size": 1e-5}


def _shrunk(image: Image.Image) -> Image.Image:
    """Short side of 64 pixels, as in a thumbnail; never enlarged."""
    scale = min(1.0, 64 / min(image.size))
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


EDITS: dict[str, Edit] = {
    "mirrored": ImageOps.mirror,
    "rotated_10_degrees": lambda image: image.rotate(10, Image.Resampling.BICUBIC),
    "brighter_30_percent": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "darker_30_percent": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "jpeg_quality_40": lambda image: decode(_encoded(image, "JPEG", quality=40)),
    "grey": lambda image: image.convert("L"),
    "short_side_64": _shrunk,
}


def agreement(classifier: Classifier, photos: Photos) -> dict[str, float]:
    """For each edit of a photo as it was sent, the share of photos whose predicted class it leaves alone."""
    same: dict[str, list[bool]] = {name: [] for name in EDITS}
    for photo in tqdm(photos.ids, desc="behaviour", unit="photo"):
        image = decode(photos.source.read(photo))
        labels = _labels(classifier, [image, *(edit(image) for edit in EDITS.values())])
        for name, label in zip(EDITS, labels[1:], strict=True):
            same[name].append(bool(label == labels[0]))
    return {name: float(np.mean(answers)) for name, answers in same.items()}


def _labels(classifier: Classifier, images: list[Image.Image]) -> NDArray[np.int64]:
    """Through the serving path, from the bytes on; without loss, and BMP because it is quick to write."""
    size = classifier.metadata.image_size
    pixels = [preprocess(_encoded(image, "BMP"), size).pixels for image in images]
    return np.asarray(classifier.run(np.stack(pixels)).probabilities.argmax(1))


def _encoded(image: Image.Image, image_format: str, **options: int) -> bytes:
    buffer = BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def consistency(classifier: Classifier, pixels: NDArray[np.uint8]) -> dict[str, float]:
    """The largest difference of a probability of (n, 3, S, S) for each key of TOLERANCE."""
    batches = [pixels[i : i + BATCH] for i in range(0, len(pixels), BATCH)]
    asked = [classifier.run(batch).probabilities for batch in batches]
    again = [classifier.run(batch).probabilities for batch in batches]
    backwards = [classifier.run(batch[::-1]).probabilities[::-1] for batch in batches]
    alone = [classifier.run(photo[None]).probabilities for photo in pixels]
    return {
        "asked_again": _difference(asked, again),
        "other_order": _difference(asked, backwards),
        "other_batch_size": _difference(asked, alone),
    }


def _difference(ours: list[NDArray[np.float32]], theirs: list[NDArray[np.float32]]) -> float:
    return float(np.abs(np.concatenate(ours) - np.concatenate(theirs)).max())
