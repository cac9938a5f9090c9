"""Check the faults of the real archive in ../shared, and the accuracy of the released model on real photos."""

from collections import Counter
from zipfile import ZipFile

import numpy as np
import pytest

from lambda_app.preprocess import preprocess
from training import prepare
from training.figures import read_figures
from training.source import Source, detect_layout

pytestmark = pytest.mark.photos
FAULTS = {
    "PetImages/Cat/666.jpg": "empty file",
    "PetImages/Dog/11702.jpg": "empty file",
    "PetImages/Cat/Thumbs.db": "not an image by its name",
    "PetImages/Dog/Thumbs.db": "not an image by its name",
}


def test_faults_of_the_archive_are_set_aside(shared):
    """Among every eighth file and the four known faults, `prepare` sets aside exactly the four faults."""
    source = Source(shared / "data/dogs-vs-cats.zip")
    layout = detect_layout(source.names())
    labels = {name: label for name, label in layout.labels.items() if name in FAULTS}
    labels |= {name: layout.labels[name] for name in sorted(layout.labels)[::8]}
    rows = prepare.inspect_photos(source, labels)
    assert FAULTS == {row.id: row.reason for row in rows if row.reason}


def test_archive_has_no_other_faults(shared):
    """The release opened all photos, and set aside only the four faults, duplicates and reviewed photos."""
    with ZipFile(shared / "data/dogs-vs-cats.zip") as archive:
        files = sum(not name.endswith("/") for name in archive.namelist())
    summary = read_figures("prepare")
    aside = summary["set_aside"]
    if files != summary["photos"] + sum(aside.values()):
        pytest.skip("the released model was trained on other photos")
    faults = {reason: count for reason, count in aside.items() if not reason.startswith(("reviewed", "duplicate"))}
    assert Counter(FAULTS.values()) == faults


def test_released_model_has_the_accuracy_in_its_metadata(shared, released_classifier):
    """Classifying the second source photo by photo gives the accuracy in the model file."""
    stated = released_classifier.metadata.metrics["oxford-pets-trainval"]
    correct = 0
    with ZipFile(shared / "data/oxford-pets-trainval.zip") as archive:
        labels = detect_layout(archive.namelist()).labels
        for name, label in labels.items():
            photo = preprocess(archive.read(name), released_classifier.metadata.image_size)
            correct += label == released_classifier.predict(photo.pixels).predicted_class
    assert stated["photos"] == len(labels)
    assert stated["accuracy"] == pytest.approx(correct / len(labels), abs=1.5 / len(labels))  # one tie may change


def test_pictures_without_pets_are_unknown(shared, released_classifier):
    """The share of unknown scenes, flowers and faces equals that in the model file, and is at least 95 %."""
    stated = released_classifier.metadata.metrics["not-pets"]
    with ZipFile(shared / "data/not-pets.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        photos = (preprocess(archive.read(name), released_classifier.metadata.image_size) for name in names)
        unknown = [released_classifier.predict(photo.pixels).unknown for photo in photos]
    assert stated["photos"] == len(unknown)
    assert stated["unknown_rate"] == pytest.approx(np.mean(unknown), abs=2.5 / len(unknown))
    assert np.mean(unknown) >= 0.95
