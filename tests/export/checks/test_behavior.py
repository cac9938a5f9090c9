"""Edits that keep what a photo shows, and what they did to it."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from export.checks.behavior import EDITS, TOLERANCE, agreement, consistency
from lambda_app.classifier import Outputs
from tests.drawing import draw, encode
from tests.export.models import pixels


class Source:
    """Photos of one colour, by its name."""

    def read(self, name):
        return encode(Image.new("RGB", (60, 40), name), "PNG")


@pytest.fixture
def shares(tiny_classifier):
    """Of two red photos and two blue ones, which the tiny model tells apart by their colour alone."""
    return agreement(tiny_classifier, SimpleNamespace(ids=["red", "blue", "#d00", "#00d"], source=Source()))


def test_every_edit_is_measured(shares):
    """There is a share for each edit, in [0, 1]."""
    assert list(EDITS) == list(shares)


@pytest.mark.parametrize("edit", [edit for edit in EDITS if edit != "grey"])
def test_colour_survives(shares, edit):
    """What keeps the colour keeps the class."""
    assert 1.0 == shares[edit]


def test_grey_takes_the_colour(shares):
    """Without colour the model says cat, the first class, of all: half of the answers change."""
    assert 0.5 == shares["grey"]


def mean(image):
    return float(np.asarray(image.convert("RGB")).mean())


@pytest.mark.parametrize(("edit", "factor"), [("brighter_30_percent", 1.3), ("darker_30_percent", 0.7)])
def test_brightness(edit, factor):
    """A mid-grey photo becomes brighter or darker by 30 %."""
    image = Image.new("RGB", (8, 8), (100, 100, 100))
    assert pytest.approx(100 * factor, abs=1) == mean(EDITS[edit](image))


def test_mirrored():
    """Left becomes right."""
    image = draw("cat", 0)
    np.testing.assert_array_equal(np.asarray(image)[:, ::-1], np.asarray(EDITS["mirrored"](image)))


def test_rotated():
    """The corners turn out of the picture, the middle stays, the size too."""
    image = Image.new("RGB", (61, 61), "white")
    rotated = np.asarray(EDITS["rotated_10_degrees"](image))
    assert (61, 61, 3) == rotated.shape
    assert (0, 255) == (rotated[0, 0].max(), rotated[30, 30].min())


@pytest.mark.parametrize(("size", "expected"), [((640, 320), (128, 64)), ((50, 300), (50, 300))])
def test_shrunk(size, expected):
    """The short side has 64 pixels; a smaller photo is left alone."""
    assert expected == EDITS["short_side_64"](Image.new("RGB", size)).size


def test_grey_has_no_colour():
    """One channel is left."""
    assert "L" == EDITS["grey"](draw("cat", 0)).mode


def test_recompressed():
    """Quality 40 leaves its traces, of a few steps."""
    image = draw("cat", 0)
    difference = np.abs(np.asarray(image, float) - np.asarray(EDITS["jpeg_quality_40"](image), float)).mean()
    assert 1 < difference < 20


def answer(probability_of):
    """A classifier whose answer to a photo follows from (photo, its place, the size of the batch)."""

    def run(images):
        first = np.array([probability_of(image, i, len(images)) for i, image in enumerate(images)], np.float32)
        return Outputs(np.stack([first, 1 - first], axis=1), first, first)

    return SimpleNamespace(run=run)


def test_steady():
    """An answer that follows from the photo alone shows no difference."""
    steady = answer(lambda image, _place, _size: image.mean() / 255)
    assert dict.fromkeys(TOLERANCE, 0.0) == consistency(steady, pixels(20, 32))


@pytest.mark.parametrize(
    ("which", "probability_of"),
    [
        ("other_order", lambda _image, place, _size: place / 100),
        ("other_batch_size", lambda _image, _place, size: size / 100),
    ],
)
def test_unsteady(which, probability_of):
    """An answer that follows from the company of a photo is found out."""
    assert TOLERANCE[which] < consistency(answer(probability_of), pixels(20, 32))[which]


def test_moody():
    """An answer that changes from one time to the next is found out."""
    moods = iter(np.linspace(0, 1, 1000))
    assert TOLERANCE["asked_again"] < consistency(answer(lambda *_: next(moods)), pixels(20, 32))["asked_again"]
