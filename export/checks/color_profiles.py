"""Measure what color profiles are worth: accuracy on photos in other color spaces, with their profile and without.

`python -m export.checks.color_profiles PHOTOS` takes an archive or a folder of classes, stores its photos in each color
space as cameras and editors do, and classifies both. Writes artifacts/color.json, from which RESULTS.md has its table.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms
from tqdm import tqdm

from lambda_app.classifier import Classifier
from lambda_app.decoding.color import BT2020, P3, Colorimetry, profile_of
from lambda_app.preprocess import decode, preprocess
from training.source import Source, detect_layout

FIGURES = Path("artifacts/color.json")
MODEL = Path("lambda_app/model.onnx")
KINDS = ("converted", "as stored")
SPACES = {
    "Display P3": Colorimetry(primaries=P3),
    "Adobe RGB": Colorimetry((2.2,), (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)),
    "Rec. 2020": Colorimetry((2.4,), BT2020),
    "ProPhoto": Colorimetry((1.8,), (0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001), (0.3457, 0.3585)),
    "linear sRGB": Colorimetry((1.0,)),
}


@dataclass(frozen=True)
class Score:
    """Compare photos with their profile and without: how many are right, and how probable their class is."""

    space: str
    photos: int
    accuracy: dict[str, float]  # by "converted" and "as stored"
    probability: dict[str, float]


def stored(image: Image.Image, space: str) -> tuple[bytes, bytes]:
    """Return the photo in a color space as PNG, with its profile and without it."""
    profile = profile_of(SPACES[space])
    assert profile  # none of the spaces is sRGB
    target = ImageCms.ImageCmsProfile(BytesIO(profile))
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), target, "RGB", "RGB")
    converted = transform.apply(image)
    files = []
    for options in ({"icc_profile": profile}, {"icc_profile": None}):
        buffer = BytesIO()
        converted.save(buffer, "PNG", compress_level=1, **options)
        files.append(buffer.getvalue())
    return files[0], files[1]


def labeled(source: Source, class_names: list[str], limit: int) -> Iterator[tuple[str, int]]:
    """Yield names of photos and the index of their class, evenly spread over the archive."""
    layout = detect_layout(source.names())
    photos = sorted(layout.labels.items())
    for name, label in photos[:: max(1, len(photos) // limit)][:limit]:
        yield name, class_names.index(label.lower())


def scores(classifier: Classifier, source: Source, limit: int) -> list[Score]:
    """Classify every photo in every color space, with its profile and without it."""
    answers: dict[
        tuple[str, str], list[tuple[bool, float]]
    ] = {}  # whether it is right, and the right class's probability
    photos = list(labeled(source, list(classifier.metadata.class_names), limit))
    for name, label in tqdm(photos, unit="photo", disable=None):
        image = decode(source.read(name))
        for space in SPACES:
            for kind, data in zip(KINDS, stored(image, space), strict=True):
                pixels = preprocess(data, classifier.metadata.image_size).pixels[None]
                probabilities = classifier.run(pixels).probabilities[0]
                answer = (bool(probabilities.argmax() == label), float(probabilities[label]))
                answers.setdefault((space, kind), []).append(answer)
    means = {key: np.mean(values, axis=0) for key, values in answers.items()}
    return [
        Score(space, len(photos), *({kind: float(means[space, kind][place]) for kind in KINDS} for place in (0, 1)))
        for space in SPACES
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--limit", type=int, default=400)
    options = parser.parse_args()
    found = scores(Classifier.load(MODEL), Source(options.photos), options.limit)
    FIGURES.write_text(json.dumps([vars(score) for score in found], indent=2) + "\n")


if __name__ == "__main__":
    main()
