"""Test the drift reference: what the function would log for the test photos."""

import json

import pytest

from export import drift_reference
from export.drift_reference import REFERENCE
from export.files import RELEASED
from lambda_app.signals import SIGNALS
from tests.support import tiny_model
from training.manifest import MANIFEST, read_manifest
from training.source import PHOTOS, Source

FIELDS = {"predicted_class", "confidence", "unknown", *SIGNALS, "photo_bytes", "photo_width", "photo_height"}


@pytest.fixture
def tiny_released(project):
    """Release the tiny model in the project."""
    RELEASED.parent.mkdir()
    tiny_model.write(RELEASED)


def write_reference():
    """Run the stage and return what it wrote."""
    drift_reference.main()
    return json.loads(REFERENCE.read_text())


def test_row_matches_the_log_line(logged, tiny_classifier, encode):
    """The app logs the same fields with the same values for the same bytes."""
    photo = encode("red", (64, 48))
    logged.client.post("/predict", content=photo, headers={"content-type": "image/jpeg"})
    [line] = [line for line in logged.lines() if line.get("message") == "request"]
    row = drift_reference.prediction_fields(tiny_classifier, photo)
    assert FIELDS == set(row)
    assert {name: line[name] for name in FIELDS} == row


def test_reference_contains_the_test_split(tiny_released):
    """The reference has a row per test photo with its true class, in manifest order, from the served model."""
    reference, photos = write_reference(), [row for row in read_manifest() if row.split == "test"]
    assert (tiny_model.METADATA.model_version, len(photos)) == (reference["model_version"], reference["photos"])
    assert list(tiny_model.METADATA.class_names) == reference["class_names"]
    assert FIELDS | {"label"} == set(reference["columns"])
    assert [row.label for row in photos] == reference["columns"]["label"]
    assert [len(Source(PHOTOS).read(row.id)) for row in photos] == reference["columns"]["photo_bytes"]


def test_reference_samples_large_splits(tiny_released, monkeypatch):
    """The reference holds at most MAX_PHOTOS, evenly spread, so that the classes keep their shares."""
    labels = write_reference()["columns"]["label"]
    monkeypatch.setattr(drift_reference, "MAX_PHOTOS", len(labels) // 2)
    reference = write_reference()
    step = -(-len(labels) // (len(labels) // 2))
    assert (labels[::step], len(labels[::step])) == (reference["columns"]["label"], reference["photos"])


def test_reference_contains_no_photo_names(tiny_released):
    """The file contains the fields and the class of a photo, never its name."""
    write_reference()
    assert [] == [row.id for row in read_manifest() if row.id in REFERENCE.read_text()]


def test_reference_of_other_classes_is_unchanged(tiny_released, capsys):
    """Photos of other classes than the model's do not replace the reference, and the output says so."""
    REFERENCE.write_text(json.dumps({"model_version": tiny_model.METADATA.model_version}))
    before = REFERENCE.read_text()
    MANIFEST.write_text(MANIFEST.read_text().replace(",dog,", ",rabbit,"))
    drift_reference.main()
    assert before == REFERENCE.read_text()
    assert (
        "is unchanged: the served model has the classes cat, dog, and the photos have cat, rabbit"
        in capsys.readouterr().out
    )
