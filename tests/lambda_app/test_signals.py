"""Test the seven signals of drift detection."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lambda_app.outputs import Outputs
from lambda_app.preprocess import preprocess
from lambda_app.signals import measure_signals

OUTPUTS = Outputs(
    np.array([[0.75, 0.25]], np.float32), np.array([[2, 1]], np.float32), np.array([0.123456789], np.float32)
)


def gray(*columns):
    """Return (3, 32, 32) pixels that repeat these columns."""
    return np.tile(np.array(columns, np.uint8), (3, 32, 32 // len(columns)))


def test_signals_of_the_outputs_equal_their_definitions():
    """They are the entropy in nats, minus the log-sum-exp of the logits, and the familiarity, to five digits."""
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    expected = [float(f"{value:.5g}") for value in (entropy, -np.log(np.exp(2) + np.exp(1)), 0.123456789)]
    measured = measure_signals(gray(0), OUTPUTS)
    assert expected == [measured[name] for name in ("entropy", "energy", "familiarity")]


def test_signals_of_a_certain_prediction_have_no_entropy():
    """A probability of 0 adds nothing to the entropy, and large logits do not overflow."""
    certain = Outputs(np.array([[1, 0]], np.float32), np.array([[200, -200]], np.float32), OUTPUTS.familiarity)
    measured = measure_signals(gray(0), certain)
    assert (0, -200) == (measured["entropy"], measured["energy"])


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (gray(0), (0, 0, 0, 0)),
        (gray(255), (1, 0, 0, 0)),
        (gray(0, 255), (0.5, 0.5, 0, 1)),
        (gray(0, 0, 255, 255), (0.5, 0.5, 0, 15 / 31)),
        (gray(0) + np.array([255, 0, 0], np.uint8)[:, None, None], (0.299, 0, 1, 0)),
        (gray(0) + np.array([0, 255, 255], np.uint8)[:, None, None], (0.701, 0, 1, 0)),
    ],
)
def test_signals_of_simple_pictures(pixels, expected):
    """Brightness, contrast, saturation and sharpness range from 0 to 1."""
    measured = measure_signals(pixels, OUTPUTS)
    names = ("brightness", "contrast", "saturation", "sharpness")
    assert [measured[name] for name in names] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "signal"),
    [
        (lambda photo: photo.filter(ImageFilter.GaussianBlur(3)), "sharpness"),
        (lambda photo: photo.point(lambda value: value // 3), "brightness"),
        (lambda photo: photo.convert("L").convert("RGB"), "saturation"),
        (lambda photo: photo.point(lambda value: 96 + value // 4), "contrast"),
    ],
)
def test_signal_falls_by_half_if_the_photo_degrades(cat_jpg, change, signal):
    """Blur, darkness, lost color and haze each halve one signal."""
    pixels = preprocess(cat_jpg, 224).pixels
    changed = np.asarray(change(Image.fromarray(pixels.transpose(1, 2, 0)))).transpose(2, 0, 1)
    assert measure_signals(changed, OUTPUTS)[signal] < measure_signals(pixels, OUTPUTS)[signal] / 2
