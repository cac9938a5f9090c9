"""Test the inference session of a model file."""

from dataclasses import replace

import numpy as np
import pytest

from lambda_app.classifier import Classifier
from tests.support import tiny_model


def pixels(red, blue):
    return np.stack([np.full((32, 32), value, np.uint8) for value in (red, 0, blue)])


def test_prediction_at_the_threshold_is_known(tmp_path, tiny_classifier):
    """The same photo is known at a threshold of its own familiarity, and unknown just above it."""
    [familiarity] = tiny_classifier.run(pixels(200, 0)[None]).familiarity.tolist()
    for threshold, unknown in ((familiarity, False), (familiarity + 1e-3, True)):
        stamped = replace(tiny_model.METADATA, unknown_threshold=threshold)
        classifier = Classifier.load(tiny_model.write(tmp_path / "m.onnx", stamped))
        assert unknown is classifier.predict(pixels(200, 0)).unknown


def test_load_names_a_missing_model_file(tmp_path):
    """The error has the path and the program that writes the file."""
    with pytest.raises(FileNotFoundError, match=r"no model file at .*absent\.onnx; expected the \.onnx that export"):
        Classifier.load(tmp_path / "absent.onnx")


def test_class_names_come_from_the_model_file(tmp_path):
    """A model with other classes predicts these."""
    renamed = replace(tiny_model.METADATA, class_names=("rabbit", "hamster"))
    prediction = Classifier.load(tiny_model.write(tmp_path / "m.onnx", renamed)).predict(pixels(0, 255))
    assert "hamster" == prediction.predicted_class
