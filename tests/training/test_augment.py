"""Photos as training sees them: each edit by itself, what varies, and how much of a photo is decoded for it."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.drawing import draw, encode
from tests.training.workspace import ROOT
from training import config
from training.augment import SHAPES, Augmented, crop
from training.train import seed_everything

AUGMENT = config.load(config.Augment, ROOT / "params.yaml")
STILL = config.Augment(
    crop_scale=(1.0, 1.0), flip=0, rotation=0, brightness=0, contrast=0, grey=0, blur=0, noise=0
)  # fmt: skip
PHOTO = encode(draw("cat", 0))


@pytest.mark.parametrize("params", [AUGMENT, STILL], ids=["as trained", "still"])
@pytest.mark.parametrize("photo", [draw("cat", 0, 200), draw("cat", 0, 20), draw("dog", 1).convert("L")])
def test_augmented_pixels(photo, params):
    """Photos of any size and mode become uint8 (3, S, S)."""
    pixels = Augmented(params, 48)(encode(photo))
    assert ((3, 48, 48), np.uint8) == (pixels.shape, pixels.dtype)


def see(params, times=10):
    """A photo as augmented so often, at 48 pixels: uint8 (times, 3, 48, 48)."""
    augmented = Augmented(params, 48)
    return np.stack([augmented(PHOTO) for _ in range(times)])


def test_augmentation_varies():
    """A photo is never seen twice in the same way."""
    assert not any(np.array_equal(one, other) for one, other in pairwise(see(AUGMENT)))


def test_augmentation_is_repeatable():
    """The same seed is the same augmentation, and another seed another."""
    seen = []
    for seed in (3, 3, 4):
        seed_everything(seed)
        seen.append(see(AUGMENT))
    assert np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])


def is_grey(images):
    return (images[:, :1] == images).all(axis=(1, 2, 3))


def test_grey():
    """A share of the photos, and only that, loses its colours: all channels are alike."""
    assert not is_grey(see(replace(STILL, grey=0.0))).any()
    assert is_grey(see(replace(STILL, grey=1.0))).all()


def detail(images):
    """Mean absolute difference of neighbouring pixels, of each image."""
    return np.abs(np.diff(images.astype(float), axis=3)).mean(axis=(1, 2, 3))


def test_blur():
    """A blurred photo is one that was small: of its size, with less detail, and not always as much less."""
    [sharp] = detail(see(STILL, 1))
    blurred = detail(see(replace(STILL, blur=1.0), 30))
    assert (blurred < 0.8 * sharp).all()
    assert 3 == len(set(blurred.tolist()))


GREY = Image.new("RGB", (48, 48), (128, 128, 128))


def test_noise():
    """One photo in ten has Gaussian noise of that standard deviation, which makes it neither brighter nor darker."""
    seed_everything(0)
    augmented = Augmented(replace(STILL, noise=0.1), 48)
    added = np.stack([augmented.pixels(GREY) for _ in range(300)]).astype(float) - 128
    noisy = added[added.any(axis=(1, 2, 3))]
    assert 15 < len(noisy) < 50
    assert noisy.std() == pytest.approx(255 * 0.1, rel=0.03)
    assert abs(noisy.mean()) < 0.5


def test_still_augmentation():
    """With every strength at zero, a photo is made smaller with care, and nothing else happens."""
    photo = draw("cat", 0, 128)
    expected = np.asarray(photo.resize((48, 48), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_array_equal(expected, Augmented(STILL, 48).pixels(photo))


@pytest.mark.parametrize("edit", ["flip", "grey", "blur"])
def test_probability(edit):
    """Three of ten photos have the edit that has a probability of 0.3."""
    seed_everything(0)
    edited = (see(replace(STILL, **{edit: 0.3}), 300) != see(STILL, 1)).any(axis=(1, 2, 3))
    assert 65 < edited.sum() < 115


# --- one at a time


def means(images):
    return images.astype(float).mean(axis=(1, 2, 3))


def test_flip():
    """A flipped photo is its mirror image."""
    np.testing.assert_array_equal(see(STILL, 1)[..., ::-1], see(replace(STILL, flip=1.0), 1))


def test_rotation():
    """Every second photo is turned, either way, and none by more than so many degrees."""
    seed_everything(0)
    line = np.zeros((48, 48, 3), np.uint8)
    line[23:25] = 255
    augmented = Augmented(replace(STILL, rotation=15), 48)
    seen = np.stack([augmented.pixels(Image.fromarray(line))[0] for _ in range(200)])
    rows, columns = np.indices((48, 48)) - 23.5
    slopes = np.array([np.polyfit(columns[image > 127], rows[image > 127], 1)[0] for image in seen])
    degrees = np.degrees(np.arctan(slopes))
    assert 70 < (np.abs(degrees) > 0.1).sum() < 130
    assert (-16 < degrees.min() < -12, 12 < degrees.max() < 16) == (True, True)


def test_brightness():
    """Brighter and darker by the same factors for all pixels, within the range and all over it."""
    seed_everything(0)
    factors = means(see(replace(STILL, brightness=0.2), 200)) / means(see(STILL, 1))
    assert 0.79 < factors.min() < 0.83
    assert 1.12 < factors.max() < 1.21  # what is white cannot become brighter


def test_contrast():
    """Contrast spreads the pixels around the mean, which stays, also that of a dark photo."""
    seed_everything(0)
    dark = draw("cat", 0).point(lambda value: value // 3)
    still = Augmented(STILL, 48).pixels(dark)
    augmented = Augmented(replace(STILL, contrast=0.2), 48)
    seen = np.stack([augmented.pixels(dark) for _ in range(200)])
    spread = seen.std(axis=(1, 2, 3)) / still.std()
    np.testing.assert_allclose(means(seen), still.mean(), rtol=0.05)
    assert 0.79 < spread.min() < 0.85
    assert 1.15 < spread.max() < 1.21


@given(st.integers(1, 500), st.integers(1, 500), st.floats(0.01, 1), st.floats(0.01, 1), st.randoms())
def test_crop(width, height, one, other, random):
    """A crop lies in the photo, has a share of its area from the range, and one of the shapes with which it fits."""
    scale = (min(one, other), max(one, other))
    seed_everything(random.randrange(2**32))
    left, top, right, bottom = crop((width, height), scale)
    assert 0 <= left < right <= width * (1 + 1e-9)
    assert 0 <= top < bottom <= height * (1 + 1e-9)
    share = (right - left) * (bottom - top) / (width * height)
    narrowest, widest = np.clip(SHAPES, share * width / height, width / height / share)
    assert scale[0] * (1 - 1e-9) <= share <= scale[1] * (1 + 1e-9)
    assert narrowest * (1 - 1e-6) <= (right - left) / (bottom - top) <= widest * (1 + 1e-6)


def test_crops_lie_anywhere():
    """Crops of a quarter of a photo come from every side of it, in every shape."""
    seed_everything(0)
    boxes = np.array([crop((400, 300), (0.25, 0.25)) for _ in range(300)])
    left, top, right, bottom = boxes.T
    for place in (left / (400 - right + left), top / (300 - bottom + top)):
        assert (place.min() < 0.05, place.max() > 0.95) == (True, True)
        assert place.mean() == pytest.approx(0.5, abs=0.07)
    shapes = (right - left) / (bottom - top)
    assert (shapes.min() < 0.78, shapes.max() > 1.28) == (True, True)


# --- how much of a big JPEG is decoded


def decoded_by(augmented, size):
    """The size of what is decoded of a JPEG of another size."""
    seen = []
    augmented.pixels = lambda photo: seen.append(photo.size)
    augmented(encode(Image.new("RGB", size)))
    return seen[0]


@pytest.mark.parametrize("share", [0.1, 0.35, 1.0])
def test_smallest_crop_is_not_enlarged(share):
    """The smallest crop of the smallest photo that is decoded has as many pixels as the network sees."""
    smallest = Augmented(replace(STILL, crop_scale=(share, 1.0)), 160).min_side
    assert 160**2 == pytest.approx(share * smallest**2, rel=0.01)


@settings(max_examples=30)  # encodes photos of up to a megapixel
@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(8, 64))
def test_big_photos_are_drafted(width, height, image_size):
    """Of a JPEG no more is decoded than an eighth, or than twice what is needed, and never less than is needed."""
    augmented = Augmented(AUGMENT, image_size)
    decoded = decoded_by(augmented, (width, height))
    short, needed = min(decoded), min(width, height, augmented.min_side)
    assert needed <= short
    assert short <= max(2 * augmented.min_side, -(-min(width, height) // 8))


def test_draft():
    """A photo of 1600 x 1200, of which 81 pixels are needed, is decoded at an eighth."""
    augmented = Augmented(replace(AUGMENT, crop_scale=(0.35, 1.0)), 48)
    assert (200, 150) == decoded_by(augmented, (1600, 1200))
