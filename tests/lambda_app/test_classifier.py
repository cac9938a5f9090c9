"""The session around a model file."""

from dataclasses import replace

import numpy as np
import pytest

from lambda_app.classifier import Classifier
from lambda_app.metadata import MetadataError
from tests import tiny_model


def pixels(red, blue):
    return np.stack([np.full((32, 32), value, np.uint8) for value in (red, 0, blue)])


@pytest.mark.parametrize(
    ("red", "blue", "expected", "label"), [(255, 0, "cat", 0), (0, 255, "dog", 1), (130, 0, "cat", 0)]
)
def test_the_likeliest_class_is_predicted(tiny_classifier, red, blue, expected, label):
    """Class, label and confidence agree with the probabilities, which sum to one."""
    prediction = tiny_classifier.predict(pixels(red, blue))
    assert (expected, label) == (prediction.predicted_class, prediction.label)
    assert prediction.confidence == max(prediction.probabilities.values())
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize(("red", "blue", "unknown"), [(255, 0, False), (0, 255, False), (100, 100, True)])
def test_what_is_unfamiliar_is_unknown(tiny_classifier, red, blue, unknown):
    """A familiarity below the file's threshold means that neither class was recognised."""
    [familiarity] = tiny_classifier.run(pixels(red, blue)[None]).familiarity
    assert unknown is bool(familiarity < tiny_model.METADATA.unknown_threshold)
    assert unknown is tiny_classifier.predict(pixels(red, blue)).unknown


def test_the_threshold_itself_is_familiar(tmp_path, tiny_classifier):
    """Only what is below it is unknown: the same photo, at its own familiarity and just above it."""
    [familiarity] = tiny_classifier.run(pixels(200, 0)[None]).familiarity.tolist()
    for threshold, unknown in ((familiarity, False), (familiarity + 1e-3, True)):
        stamped = replace(tiny_model.METADATA, unknown_threshold=threshold)
        classifier = Classifier.load(tiny_model.write(tmp_path / "m.onnx", stamped))
        assert unknown is classifier.predict(pixels(200, 0)).unknown


def test_unknown_never_hides_the_prediction(tiny_classifier):
    """The classes and their probabilities are there all the same."""
    assert {"cat": 0.5, "dog": 0.5} == tiny_classifier.predict(pixels(100, 100)).probabilities


def test_a_batch_gives_what_its_photos_give_alone(tiny_classifier):
    """Neither order nor company matters."""
    batch = np.stack([pixels(255, 0), pixels(0, 255), pixels(10, 20)])
    alone = [tiny_classifier.run(photo[None]).probabilities[0] for photo in batch]
    np.testing.assert_allclose(tiny_classifier.run(batch).probabilities, alone, atol=1e-6)


def test_a_missing_model_file_is_named(tmp_path):
    """The error says where it looked and who writes it."""
    with pytest.raises(FileNotFoundError, match=r"no model file at .*absent\.onnx; expected the \.onnx that export"):
        Classifier.load(tmp_path / "absent.onnx")


def test_a_model_without_metadata_does_not_start(tmp_path):
    """A bare ONNX file is refused at start, not at the first photo."""
    with pytest.raises(MetadataError, match="no metadata 'class_names'"):
        Classifier.load(tiny_model.write(tmp_path / "bare.onnx", None))


def test_any_number_of_classes_can_be_named(tmp_path):
    """The names come from the file alone."""
    renamed = replace(tiny_model.METADATA, class_names=("rabbit", "hamster"))
    prediction = Classifier.load(tiny_model.write(tmp_path / "m.onnx", renamed)).predict(pixels(0, 255))
    assert "hamster" == prediction.predicted_class
