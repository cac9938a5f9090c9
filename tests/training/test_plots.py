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


def test_plots_are_written(predictions, tmp_path):
    """Each plot of evaluation is a PNG, also the worst mistakes if there are none."""
    probabilities, labels = predictions
    names = list(LABELS[: probabilities.shape[1]])
    shown = {f"{i}.jpg": names[label] for i, label in enumerate(labels)}
    files = {name: encode_image(draw(label, 0)) for name, label in shown.items()}
    photos = Photos(Source(write_zip(tmp_path / "photos.zip", files)), shown, names, Preprocessor(32))
    for plot, arguments in (
        (plots.confusion, (labels, names)),
        (plots.roc, (labels, names)),
        (plots.reliability, (labels,)),
        (plots.worst_mistakes, (photos, names)),
    ):
        path = tmp_path / f"{plot.__name__}.png"
        plot(probabilities, *arguments, path)
        assert path.read_bytes().startswith(b"\x89PNG")
