"""Test the edits of photos, and the measurements of agreement and consistency."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from export.checks.behavior import EDITS, TOLERANCE, measure_agreement, measure_consistency
from lambda_app.outputs import Outputs
from tests.export.untrained_models import pixels
from tests.support.drawing import draw, encode_image


class ColorSource:
    """Yields photos of a single color; the name of a photo is its color."""

    def read(self, name):
        return encode_image(Image.new("RGB", (60, 40), name), "PNG")


@pytest.fixture
def shares(tiny_classifier):
    """Return the agreement on two red and two blue photos, which the tiny model classifies by color."""
    photos = SimpleNamespace(ids=["red", "blue", "#d00", "#00d"], source=ColorSource())
    return measure_agreement(tiny_classifier, photos)


def test_agreement_depends_on_the_colors_that_an_edit_keeps(shares):
    """Photos keep their class if an edit keeps their color. Half become the first class if they become gray."""
    assert dict.fromkeys(EDITS, 1.0) | {"gray": 0.5} == shares


def mean_brightness(image):
    return float(np.asarray(image.convert("RGB")).mean())


@pytest.mark.parametrize(("edit", "factor"), [("brighter_30_percent", 1.3), ("darker_30_percent", 0.7)])
def test_brightness_edits_change_brightness_by_30_percent(edit, factor):
    """A mid-gray photo becomes brighter or darker by 30 %."""
    image = Image.new("RGB", (8, 8), (100, 100, 100))
    assert pytest.approx(100 * factor, abs=1) == mean_brightness(EDITS[edit](image))


def test_mirror_edit_swaps_left_and_right():
    """The columns are reversed."""
    image = draw("cat", 0)
    np.testing.assert_array_equal(np.asarray(image)[:, ::-1], np.asarray(EDITS["mirrored"](image)))


def test_rotation_edit_keeps_the_size():
    """The corners leave the picture; center and size stay."""
    image = Image.new("RGB", (61, 61), "white")
    rotated = np.asarray(EDITS["rotated_10_degrees"](image))
    assert (61, 61, 3) == rotated.shape
    assert (0, 255) == (rotated[0, 0].max(), rotated[30, 30].min())


@pytest.mark.parametrize(("size", "expected"), [((640, 320), (128, 64)), ((50, 300), (50, 300))])
def test_shrink_edit_limits_the_short_side(size, expected):
    """The short side becomes 64 pixels; smaller photos are unchanged."""
    assert expected == EDITS["short_side_64"](Image.new("RGB", size)).size


def test_jpeg_edit_changes_pixels_slightly():
    """Quality 40 changes pixel values by a few steps on average."""
    image = draw("cat", 0)
    difference = np.abs(np.asarray(image, float) - np.asarray(EDITS["jpeg_quality_40"](image), float)).mean()
    assert 1 < difference < 20


def make_classifier(probability_of):
    """Return a classifier whose probabilities are a function of the photo, its index and the batch size."""

    def run(images):
        first = np.array([probability_of(image, i, len(images)) for i, image in enumerate(images)], np.float32)
        return Outputs(np.stack([first, 1 - first], axis=1), first, first)

    return SimpleNamespace(run=run)


def test_consistency_is_exact_if_only_the_photo_matters():
    """All differences are 0 if the prediction depends on the photo alone."""
    classifier = make_classifier(lambda image, _index, _size: image.mean() / 255)
    assert dict.fromkeys(TOLERANCE, 0.0) == measure_consistency(classifier, pixels(20, 32))


@pytest.mark.parametrize(
    ("key", "probability_of"),
    [
        ("other_order", lambda _image, index, _size: index / 100),
        ("other_batch_size", lambda _image, _index, size: size / 100),
    ],
)
def test_consistency_detects_dependence_on_the_batch(key, probability_of):
    """A prediction that depends on the batch exceeds the tolerance."""
    assert TOLERANCE[key] < measure_consistency(make_classifier(probability_of), pixels(20, 32))[key]


def test_consistency_detects_nondeterminism():
    """A prediction that differs between two runs exceeds the tolerance."""
    values = iter(np.linspace(0, 1, 1000))
    classifier = make_classifier(lambda *_: next(values))
    assert TOLERANCE["repeated_run"] < measure_consistency(classifier, pixels(20, 32))["repeated_run"]
