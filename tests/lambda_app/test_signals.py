"""The seven numbers that drift is looked for in: their values where they can be told, and what moves them."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lambda_app.classifier import Outputs
from lambda_app.preprocess import preprocess
from lambda_app.signals import SIGNALS, signals

OUTPUTS = Outputs(
    np.array([[0.75, 0.25]], np.float32), np.array([[2, 1]], np.float32), np.array([0.123456789], np.float32)
)


def grey(*columns):
    """Pixels with these columns, over and over."""
    return np.tile(np.array(columns, np.uint8), (3, 32, 32 // len(columns)))


def test_they_come_in_the_order_of_the_tuple():
    """Logs, reference and report name them by it."""
    assert list(SIGNALS) == list(signals(grey(0), OUTPUTS))


def test_the_answers_signals_are_the_textbooks():
    """Entropy of the probabilities in nats, minus the log-sum-exp of the logits, familiarity as it came; 5 digits."""
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    expected = [float(f"{value:.5g}") for value in (entropy, -np.log(np.exp(2) + np.exp(1)), 0.123456789)]
    assert expected == [signals(grey(0), OUTPUTS)[name] for name in ("entropy", "energy", "familiarity")]


def test_a_certain_answer_has_no_entropy():
    """Nor is the logarithm of a probability of 0 taken."""
    certain = Outputs(np.array([[1, 0]], np.float32), np.array([[200, -200]], np.float32), OUTPUTS.familiarity)
    assert (0, -200) == (signals(grey(0), certain)["entropy"], signals(grey(0), certain)["energy"])


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (grey(0), (0, 0, 0, 0)),
        (grey(255), (1, 0, 0, 0)),
        (grey(0, 255), (0.5, 0.5, 0, 1)),
        (grey(0, 0, 255, 255), (0.5, 0.5, 0, 15 / 31)),
        (grey(0) + np.array([255, 0, 0], np.uint8)[:, None, None], (0.299, 0, 1, 0)),
        (grey(0) + np.array([0, 255, 255], np.uint8)[:, None, None], (0.701, 0, 1, 0)),
    ],
)
def test_the_photos_signals_of_simple_pictures(pixels, expected):
    """Brightness, contrast, saturation and sharpness, each from 0 to 1."""
    found = signals(pixels, OUTPUTS)
    names = ("brightness", "contrast", "saturation", "sharpness")
    assert [found[name] for name in names] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "moved"),
    [
        (lambda photo: photo.filter(ImageFilter.GaussianBlur(3)), "sharpness"),
        (lambda photo: photo.point(lambda value: value // 3), "brightness"),
        (lambda photo: photo.convert("L").convert("RGB"), "saturation"),
        (lambda photo: photo.point(lambda value: 96 + value // 4), "contrast"),
    ],
)
def test_what_happens_to_photos_lowers_its_signal_by_half(cat_jpg, change, moved):
    """Blurred, dark, grey and hazy photos are what drift looks like."""
    pixels = preprocess(cat_jpg, 224).pixels
    changed = np.asarray(change(Image.fromarray(pixels.transpose(1, 2, 0)))).transpose(2, 0, 1)
    assert signals(changed, OUTPUTS)[moved] < signals(pixels, OUTPUTS)[moved] / 2


def test_only_every_eighth_row_is_read(cat_jpg):
    """An eighth of the work; `infra/bench/telemetry.py` measures what it takes."""
    pixels = preprocess(cat_jpg, 224).pixels
    others = np.random.default_rng(0).integers(0, 255, pixels.shape, np.uint8)
    others[:, ::8] = pixels[:, ::8]
    assert signals(pixels, OUTPUTS) == signals(others, OUTPUTS)
