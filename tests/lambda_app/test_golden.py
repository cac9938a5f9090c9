"""The bundled photos: what the pixels are, and what the released model says of them."""

import numpy as np
import pytest

from lambda_app.classifier import Classifier
from lambda_app.preprocess import preprocess
from lambda_app.settings import Settings

# cat.jpg at 32 x 32, averaged over blocks of 8 x 8, RGB.
CAT = [
    [[152, 137, 127, 155], [150, 111, 171, 142], [152, 153, 157, 146], [172, 161, 134, 161]],
    [[113, 99, 91, 115], [107, 81, 129, 112], [106, 104, 104, 112], [135, 118, 93, 132]],
    [[84, 69, 64, 95], [73, 50, 96, 86], [78, 61, 57, 86], [117, 88, 73, 110]],
]


@pytest.fixture(scope="module")
def released() -> Classifier:
    return Classifier.load(Settings().model_path)


def test_the_pixels_of_the_bundled_cat_are_the_golden_ones(cat_jpg):
    """Decoding, cropping and resizing a real photo gives what it always gave, to one grey level of the average."""
    pixels = preprocess(cat_jpg, 32).pixels.reshape(3, 4, 8, 4, 8).mean((2, 4))
    np.testing.assert_allclose(pixels, CAT, atol=1)


def test_the_released_model_knows_the_bundled_cat(released, cat_jpg):
    """With a confidence that leaves no doubt, and as something that it knows."""
    prediction = released.predict(preprocess(cat_jpg, released.metadata.image_size).pixels)
    assert ("cat", False) == (prediction.predicted_class, prediction.unknown)
    assert prediction.confidence > 0.9


def test_the_released_model_is_described_by_its_own_file(released):
    """Version, run and commit lead back to how it was made."""
    metadata = released.metadata
    assert metadata.model_version.endswith(metadata.run_id[:8])
    assert 64 == len(metadata.data_hash)
    assert metadata.metrics["test"]["accuracy"] >= 0.98


def test_the_released_file_is_small():
    """At most 15 MB travel with the function."""
    assert Settings().model_path.stat().st_size <= 15_000_000
