"""Test the pixels of the bundled cat, and the prediction, provenance and size of the released model."""

import numpy as np

from lambda_app.preprocess import preprocess
from lambda_app.settings import Settings

# cat.jpg at 32 x 32, averaged over blocks of 8 x 8, RGB.
CAT = [
    [[152, 137, 127, 155], [150, 111, 171, 142], [152, 153, 157, 146], [172, 161, 134, 161]],
    [[113, 99, 91, 115], [107, 81, 129, 112], [106, 104, 104, 112], [135, 118, 93, 132]],
    [[84, 69, 64, 95], [73, 50, 96, 86], [78, 61, 57, 86], [117, 88, 73, 110]],
]


def test_pixels_of_the_bundled_cat_are_unchanged(cat_jpg):
    """Decoding, cropping and resizing give the recorded pixels, within one gray level on average."""
    pixels = preprocess(cat_jpg, 32).pixels.reshape(3, 4, 8, 4, 8).mean((2, 4))
    np.testing.assert_allclose(pixels, CAT, atol=1)


def test_released_model_recognizes_the_bundled_cat(released_classifier, cat_jpg):
    """The prediction has a high confidence and is not unknown."""
    prediction = released_classifier.predict(preprocess(cat_jpg, released_classifier.metadata.image_size).pixels)
    assert ("cat", False) == (prediction.predicted_class, prediction.unknown)
    assert prediction.confidence > 0.9


def test_released_model_has_its_provenance(released_classifier):
    """The metadata has a version derived from the run, the hash of the data, and a test accuracy of at least 98 %."""
    metadata = released_classifier.metadata
    assert metadata.model_version.endswith(metadata.run_id[:8])
    assert 64 == len(metadata.data_hash)
    assert metadata.metrics["test"]["accuracy"] >= 0.98


def test_released_file_is_small():
    """The model file has at most 15 MB."""
    assert Settings().model_path.stat().st_size <= 15_000_000
