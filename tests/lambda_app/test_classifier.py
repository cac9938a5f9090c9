"""Test the inference session of a model file."""

from dataclasses import replace

import numpy as np
import pytest

from lambda_app.classifier import Classifier
from lambda_app.metadata import MetadataError
from tests.support import tiny_model


def pixels(red, blue):
    return np.stack([np.full((32, 32), value, np.uint8) for value in (red, 0, blue)])


@pytest.mark.parametrize(
    ("red", "blue", "expected", "label"), [(255, 0, "cat", 0), (0, 255, "dog", 1), (130, 0, "cat", 0)]
)
def test_classifier_predicts_the_most_probable_class(tiny_classifier, red, blue, expected, label):
    """Class, label and confidence agree with the probabilities, which sum to 1."""
    prediction = tiny_classifier.predict(pixels(red, blue))
    assert (expected, label) == (prediction.predicted_class, prediction.predicted_label)
    assert prediction.confidence == max(prediction.probabilities.values())
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize(("red", "blue", "unknown"), [(255, 0, False), (0, 255, False), (100, 100, True)])
def test_prediction_is_unknown_below_the_familiarity_threshold(tiny_classifier, red, blue, unknown):
    """The threshold comes from the model file."""
    [familiarity] = tiny_classifier.run(pixels(red, blue)[None]).familiarity
    assert unknown is bool(familiarity < tiny_model.METADATA.unknown_threshold)
    assert unknown is tiny_classifier.predict(pixels(red, blue)).unknown


def test_prediction_at_the_threshold_is_known(tmp_path, tiny_classifier):
    """The same photo is known at a threshold of its own familiarity, and unknown just above it."""
    [familiarity] = tiny_classifier.run(pixels(200, 0)[None]).familiarity.tolist()
    for threshold, unknown in ((familiarity, False), (familiarity + 1e-3, True)):
        stamped = replace(tiny_model.METADATA, unknown_threshold=threshold)
        classifier = Classifier.load(tiny_model.write(tmp_path / "m.onnx", stamped))
        assert unknown is classifier.predict(pixels(200, 0)).unknown


def test_prediction_of_an_unknown_photo_has_probabilities(tiny_classifier):
    """An unknown photo gets the same fields as any other."""
    assert {"cat": 0.5, "dog": 0.5} == tiny_classifier.predict(pixels(100, 100)).probabilities


def test_classifier_gives_the_same_outputs_in_a_batch(tiny_classifier):
    """Each photo's probabilities do not depend on the other photos of its run."""
    batch = np.stack([pixels(255, 0), pixels(0, 255), pixels(10, 20)])
    alone = [tiny_classifier.run(photo[None]).probabilities[0] for photo in batch]
    np.testing.assert_allclose(tiny_classifier.run(batch).probabilities, alone, atol=1e-6)


def test_load_names_a_missing_model_file(tmp_path):
    """The error has the path and the program that writes the file."""
    with pytest.raises(FileNotFoundError, match=r"no model file at .*absent\.onnx; expected the \.onnx that export"):
        Classifier.load(tmp_path / "absent.onnx")


def test_load_refuses_a_model_without_metadata(tmp_path):
    """A bare ONNX file fails at start, not at the first photo."""
    with pytest.raises(MetadataError, match="no metadata 'class_names'"):
        Classifier.load(tiny_model.write(tmp_path / "bare.onnx", None))


def test_class_names_come_from_the_model_file(tmp_path):
    """A model with other classes predicts these."""
    renamed = replace(tiny_model.METADATA, class_names=("rabbit", "hamster"))
    prediction = Classifier.load(tiny_model.write(tmp_path / "m.onnx", renamed)).predict(pixels(0, 255))
    assert "hamster" == prediction.predicted_class
