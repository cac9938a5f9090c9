"""Test that the plots of evaluation are drawn without a warning for any test split."""

import numpy as np
import pytest

from tests.support.drawing import LABELS, draw, encode_image
from tests.training.workspace import write_zip
from training import plots
from training.photo_dataset import Photos, Preprocessor
from training.source import Source

SPLITS = {
    "two classes": (2, [0, 0, 1, 1]),
    "three classes": (3, [0, 1, 2, 2]),
    "three classes, one missing": (3, [0, 1, 1, 1]),
    "all correct": (2, [0, 1, 0, 1]),
    "all wrong": (2, [1, 0, 1, 0]),
}


@pytest.fixture(params=SPLITS.values(), ids=SPLITS)
def predictions(request):
    """Return probabilities of four photos, of which every second is predicted as the first class, and their labels."""
    classes, labels = request.param
    probabilities = np.full((4, classes), 0.1)
    probabilities[::2, 0] = probabilities[1::2, 1] = 1 - 0.1 * (classes - 1)
    return probabilities, np.array(labels)


@pytest.mark.parametrize("plot", [plots.confusion, plots.roc], ids=["confusion", "roc"])
def test_plot_with_class_names_is_written(predictions, plot, tmp_path):
    """The confusion matrix and the ROC curves are drawn with class names."""
    probabilities, labels = predictions
    plot(probabilities, labels, list(LABELS[: probabilities.shape[1]]), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_reliability_is_written(predictions, tmp_path):
    """The reliability diagram is drawn."""
    plots.reliability(*predictions, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_worst_mistakes_are_written(predictions, tmp_path):
    """The worst mistakes are drawn, even if there are none."""
    probabilities, labels = predictions
    names = list(LABELS[: probabilities.shape[1]])
    shown = {f"{i}.jpg": names[label] for i, label in enumerate(labels)}
    files = {name: encode_image(draw(label, 0)) for name, label in shown.items()}
    photos = Photos(Source(write_zip(tmp_path / "photos.zip", files)), shown, names, Preprocessor(32))
    plots.worst_mistakes(probabilities, photos, names, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
