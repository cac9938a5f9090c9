"""Test the accuracy of a model file at other image sizes."""

from pathlib import Path

import numpy as np
import pytest

from export.experiments.image_sizes import make_run, measure_sizes, render
from export.files import MODEL
from lambda_app.classifier import Classifier
from lambda_app.preprocess import preprocess
from training.source import sha256


def test_size_in_metadata_gives_the_results_of_the_function(store):
    """At the size in the metadata, the accuracy is that of the function, photo by photo."""
    classifier = Classifier.load(MODEL)
    photos = sorted(Path("mine").rglob("*.jpg"))
    size = classifier.metadata.image_size
    predictions = [classifier.predict(preprocess(photo.read_bytes(), size).pixels) for photo in photos]
    correct = [photo.parent.name == each.predicted_class for photo, each in zip(photos, predictions, strict=True)]
    [scores] = measure_sizes(MODEL, Path("mine"), (size,))
    assert (size, len(photos)) == (scores["image_size"], scores["photos"])
    assert scores["accuracy"] == pytest.approx(np.mean(correct))


def test_network_runs_at_other_sizes(store):
    """A network that was exported for one image size classifies images of twice its size."""
    size = 2 * Classifier.load(MODEL).metadata.image_size
    outputs = make_run(MODEL)(np.zeros((1, 3, size, size), np.uint8))
    assert outputs.probabilities.sum() == pytest.approx(1)


@pytest.fixture
def figures(monkeypatch, tmp_path):
    """Return figures of the file that a project without other files released."""
    monkeypatch.setattr("export.experiments.image_sizes.RELEASED", tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"a model")
    row = {"photos": 1558, "accuracy": 0.9923, "calibration_error": 0.008, "unknown_rate": 0.0013, "ms": 4.62}
    origin = {"sha256": sha256(tmp_path / "model.onnx"), "set": "abroad", "hardware": "a CPU, 2 cores"}
    return origin | {"sizes": [{"image_size": 224, **row}]}


def test_table_has_a_row_for_each_size(figures):
    """The table has one row for each size, and the photos and the machine below it."""
    lines = render(figures).splitlines()
    assert "| 224 | 99.23 % | 0.80 % | 0.13 % | 4.6 |" == lines[2]
    assert "1,558 photos of abroad. Measured on a CPU, 2 cores." == lines[-1]


def test_figures_of_another_model_are_not_shown(figures, tmp_path):
    """After the release of another file, the table is replaced by a note."""
    (tmp_path / "model.onnx").write_bytes(b"another model")
    assert "Not measured for this model." == render(figures)
