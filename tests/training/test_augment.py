"""Test augmentation: each edit separately, variation, and how much of a photo is decoded."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support import ROOT
from tests.support.drawing import draw, encode_image
from training import config
from training.augment import ASPECT_RATIOS, Augmenter, random_crop
from training.train import seed_everything

AUGMENT = config.load(config.Augment, ROOT / "params.yaml")
NO_EDITS = config.Augment(
    crop_scale=(1.0, 1.0), flip=0, rotation=0, brightness=0, contrast=0, gray=0, blur=0, noise=0
)  # fmt: skip
PHOTO = encode_image(draw("cat", 0))


@pytest.mark.parametrize("params", [AUGMENT, NO_EDITS], ids=["params.yaml", "no edits"])
@pytest.mark.parametrize("photo", [draw("cat", 0, 200), draw("cat", 0, 20), draw("dog", 1).convert("L")])
def test_augmenter_returns_pixels_of_one_shape(photo, params):
    """Photos of any size and mode become uint8 (3, S, S)."""
    pixels = Augmenter(params, 48)(encode_image(photo))
    assert ((3, 48, 48), np.uint8) == (pixels.shape, pixels.dtype)


def augment_often(params, times=10):
    """Augment the same photo `times` times at 48 pixels: uint8 (times, 3, 48, 48)."""
    augmenter = Augmenter(params, 48)
    return np.stack([augmenter(PHOTO) for _ in range(times)])


def test_augmentation_varies():
    """Augmenting the same photo again gives different pixels."""
    assert not any(np.array_equal(one, other) for one, other in pairwise(augment_often(AUGMENT)))


def test_augmentation_is_repeatable():
    """The same seed gives the same augmentation, and another seed a different one."""
    seen = []
    for seed in (3, 3, 4):
        seed_everything(seed)
        seen.append(augment_often(AUGMENT))
    assert np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[0], seen[2])


def is_gray(images):
    return (images[:, :1] == images).all(axis=(1, 2, 3))


def test_gray_removes_color():
    """With a probability of 1 all channels are equal, with a probability of 0 they are not."""
    assert not is_gray(augment_often(replace(NO_EDITS, gray=0.0))).any()
    assert is_gray(augment_often(replace(NO_EDITS, gray=1.0))).all()


def detail(images):
    """Return the mean absolute difference of adjacent pixels, for each image."""
    return np.abs(np.diff(images.astype(float), axis=3)).mean(axis=(1, 2, 3))


def test_blur_removes_detail():
    """A blurred photo has less detail, at three different strengths."""
    [sharp] = detail(augment_often(NO_EDITS, 1))
    blurred = detail(augment_often(replace(NO_EDITS, blur=1.0), 30))
    assert (blurred < 0.8 * sharp).all()
    assert 3 == len(set(blurred.tolist()))


GRAY = Image.new("RGB", (48, 48), (128, 128, 128))


def test_noise_is_gaussian():
    """One photo in ten has Gaussian noise of the configured standard deviation and a mean of zero."""
    seed_everything(0)
    augmenter = Augmenter(replace(NO_EDITS, noise=0.1), 48)
    added = np.stack([augmenter.augment(GRAY) for _ in range(300)]).astype(float) - 128
    noisy = added[added.any(axis=(1, 2, 3))]
    assert 15 < len(noisy) < 50
    assert noisy.std() == pytest.approx(255 * 0.1, rel=0.03)
    assert abs(noisy.mean()) < 0.5


def test_augmenter_without_edits_only_resizes():
    """With every strength at zero, a photo is only resized."""
    photo = draw("cat", 0, 128)
    expected = np.asarray(photo.resize((48, 48), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_array_equal(expected, Augmenter(NO_EDITS, 48).augment(photo))


@pytest.mark.parametrize("edit", ["flip", "gray", "blur"])
def test_edit_has_its_probability(edit):
    """With a probability of 0.3, three of ten photos have the edit."""
    seed_everything(0)
    edited = (augment_often(replace(NO_EDITS, **{edit: 0.3}), 300) != augment_often(NO_EDITS, 1)).any(axis=(1, 2, 3))
    assert 65 < edited.sum() < 115


# --- single edits


def means(images):
    return images.astype(float).mean(axis=(1, 2, 3))


def test_flip_mirrors_the_photo():
    """A flipped photo is the mirror image."""
    np.testing.assert_array_equal(augment_often(NO_EDITS, 1)[..., ::-1], augment_often(replace(NO_EDITS, flip=1.0), 1))


def test_rotation_stays_within_its_limit():
    """Every second photo is rotated in either direction, by no more than the limit."""
    seed_everything(0)
    line = np.zeros((48, 48, 3), np.uint8)
    line[23:25] = 255
    augmenter = Augmenter(replace(NO_EDITS, rotation=15), 48)
    seen = np.stack([augmenter.augment(Image.fromarray(line))[0] for _ in range(200)])
    rows, columns = np.indices((48, 48)) - 23.5
    slopes = np.array([np.polyfit(columns[image > 127], rows[image > 127], 1)[0] for image in seen])
    degrees = np.degrees(np.arctan(slopes))
    assert 70 < (np.abs(degrees) > 0.1).sum() < 130
    assert (-16 < degrees.min() < -12, 12 < degrees.max() < 16) == (True, True)


def test_brightness_scales_all_pixels():
    """Brightness multiplies all pixels by one factor, which covers the configured range."""
    seed_everything(0)
    factors = means(augment_often(replace(NO_EDITS, brightness=0.2), 200)) / means(augment_often(NO_EDITS, 1))
    assert 0.79 < factors.min() < 0.83
    assert 1.12 < factors.max() < 1.21  # white pixels cannot become brighter


def test_contrast_keeps_the_mean():
    """Contrast spreads the pixels around the mean, which does not change, even for a dark photo."""
    seed_everything(0)
    dark = draw("cat", 0).point(lambda value: value // 3)
    still = Augmenter(NO_EDITS, 48).augment(dark)
    augmenter = Augmenter(replace(NO_EDITS, contrast=0.2), 48)
    seen = np.stack([augmenter.augment(dark) for _ in range(200)])
    spread = seen.std(axis=(1, 2, 3)) / still.std()
    np.testing.assert_allclose(means(seen), still.mean(), rtol=0.05)
    assert 0.79 < spread.min() < 0.85
    assert 1.15 < spread.max() < 1.21


@given(st.integers(1, 500), st.integers(1, 500), st.floats(0.01, 1), st.floats(0.01, 1), st.randoms())
def test_crop_has_a_valid_box(width, height, one, other, random):
    """A crop is inside the photo, and its area and aspect ratio are in the configured ranges."""
    scale = (min(one, other), max(one, other))
    seed_everything(random.randrange(2**32))
    left, top, right, bottom = random_crop((width, height), scale)
    assert 0 <= left < right <= width * (1 + 1e-9)
    assert 0 <= top < bottom <= height * (1 + 1e-9)
    share = (right - left) * (bottom - top) / (width * height)
    narrowest, widest = np.clip(ASPECT_RATIOS, share * width / height, width / height / share)
    assert scale[0] * (1 - 1e-9) <= share <= scale[1] * (1 + 1e-9)
    assert narrowest * (1 - 1e-6) <= (right - left) / (bottom - top) <= widest * (1 + 1e-6)


def test_crops_cover_the_photo():
    """Crops of a quarter of the area reach every side of the photo, with every aspect ratio."""
    seed_everything(0)
    boxes = np.array([random_crop((400, 300), (0.25, 0.25)) for _ in range(300)])
    left, top, right, bottom = boxes.T
    for place in (left / (400 - right + left), top / (300 - bottom + top)):
        assert (place.min() < 0.05, place.max() > 0.95) == (True, True)
        assert place.mean() == pytest.approx(0.5, abs=0.07)
    shapes = (right - left) / (bottom - top)
    assert (shapes.min() < 0.78, shapes.max() > 1.28) == (True, True)


# --- decoding at reduced size


def decoded_size(augmenter, size):
    """Return the size at which a JPEG of `size` is decoded."""
    seen = []
    augmenter.augment = lambda photo: seen.append(photo.size)
    augmenter(encode_image(Image.new("RGB", size)))
    return seen[0]


@pytest.mark.parametrize("share", [0.1, 0.35, 1.0])
def test_min_side_covers_the_smallest_crop(share):
    """At `min_side`, the smallest crop has as many pixels as the network's input."""
    smallest = Augmenter(replace(NO_EDITS, crop_scale=(share, 1.0)), 160).min_side
    assert 160**2 == pytest.approx(share * smallest**2, rel=0.01)


@settings(max_examples=30)  # encodes photos of up to a megapixel
@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(8, 64))
def test_large_jpeg_is_decoded_at_reduced_size(width, height, image_size):
    """A large JPEG is decoded at a reduced size, but not below the needed size.

    The limit is twice the needed size or an eighth of its own, whichever is larger.
    """
    augmenter = Augmenter(AUGMENT, image_size)
    decoded = decoded_size(augmenter, (width, height))
    short, needed = min(decoded), min(width, height, augmenter.min_side)
    assert needed <= short
    assert short <= max(2 * augmenter.min_side, -(-min(width, height) // 8))
