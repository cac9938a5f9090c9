"""Measure how much color profiles matter: accuracy on photos in other color spaces, with and without their profile.

`python -m export.experiments.color_profiles PHOTOS` takes an archive or a folder of classes, stores the photos in each
color space as cameras and editors do, and classifies both versions. It writes artifacts/color.json, from which
`make docs` writes the table in infra/bench/RESULTS.md.
"""

import argparse
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms
from tqdm import tqdm

from export.files import RELEASED
from lambda_app.classifier import Classifier
from lambda_app.decoding.color import BT2020, P3, Colorimetry, build_profile
from lambda_app.preprocess import decode, preprocess
from training.figures import write_json
from training.further_sets import read_folder
from training.photo_dataset import Photos, Preprocessor, subsample

FIGURES = Path("artifacts/color.json")
MAX_PHOTOS = 400
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
    """Hold accuracy and mean probability of the true class in one color space, each in [0, 1]."""

    space: str
    photos: int
    accuracy: dict[str, float]  # by kind: "converted" or "as stored"
    probability: dict[str, float]


def convert_space(image: Image.Image, space: str) -> tuple[bytes, bytes]:
    """Return the photo in another color space, as PNG files with and without its profile."""
    profile = build_profile(SPACES[space])
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


def score_spaces(classifier: Classifier, photos: Photos) -> list[Score]:
    """Classify every photo in every color space, with and without its profile."""
    # By space and kind: whether the prediction is correct, and the probability of the true class.
    answers: dict[tuple[str, str], list[tuple[bool, float]]] = {}
    for name, label in zip(tqdm(photos.ids, unit="photo", disable=None), photos.labels, strict=True):
        image = decode(photos.source.read(name))
        for space in SPACES:
            for kind, data in zip(KINDS, convert_space(image, space), strict=True):
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
    parser.add_argument("photos", type=Path, help="archive or folder with one folder per class")
    path, classifier = parser.parse_args().photos, Classifier.load(RELEASED)
    metadata = classifier.metadata
    photos = read_folder(path, list(metadata.class_names), Preprocessor(metadata.image_size))
    scores = score_spaces(classifier, subsample(photos, MAX_PHOTOS))
    write_json(FIGURES, [vars(score) for score in scores])


if __name__ == "__main__":
    main()
