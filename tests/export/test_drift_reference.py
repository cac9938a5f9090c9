"""The reference is what the function would have logged of the test photos."""

import json
import shutil

import pytest

from export import drift_reference
from export.drift_reference import REFERENCE
from export.release import RELEASED
from lambda_app.signals import SIGNALS
from tests import tiny_model
from training.data import read_manifest
from training.source import PHOTOS, Source

FIELDS = {"predicted_class", "confidence", "unknown", *SIGNALS, "photo_bytes", "photo_width", "photo_height"}


@pytest.fixture
def released(converted, tmp_path, monkeypatch):
    """The converted project, where the tiny model serves; the working directory of the test."""
    shutil.copytree(converted, tmp_path, symlinks=True, dirs_exist_ok=True)
    (tmp_path / RELEASED.parent).mkdir()
    tiny_model.write(tmp_path / RELEASED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written():
    drift_reference.main()
    return json.loads(REFERENCE.read_text())


def test_a_row_is_what_the_function_logs(logged, tiny_classifier, encode):
    """Of the same bytes, through the app: the same fields with the same values."""
    photo = encode("red", (64, 48))
    logged.client.post("/predict", content=photo, headers={"content-type": "image/jpeg"})
    [line] = [line for line in logged.lines() if line.get("message") == "request"]
    row = drift_reference.logged(tiny_classifier, photo)
    assert FIELDS == set(row)
    assert {name: line[name] for name in FIELDS} == row


def test_the_test_photos_are_the_reference(released):
    """Each of them with its true class, in the manifest's order, by the model that serves."""
    found, photos = written(), [row for row in read_manifest() if row["split"] == "test"]
    assert (tiny_model.METADATA.model_version, len(photos)) == (found["model_version"], found["photos"])
    assert list(tiny_model.METADATA.class_names) == found["class_names"]
    assert FIELDS | {"label"} == set(found["columns"])
    assert [row["label"] for row in photos] == found["columns"]["label"]
    assert [len(Source(PHOTOS).read(row["id"])) for row in photos] == found["columns"]["photo_bytes"]


def test_of_many_photos_some_are_the_reference(released, monkeypatch):
    """At most MOST of them, evenly spread, so that the classes keep their shares."""
    labels = written()["columns"]["label"]
    monkeypatch.setattr(drift_reference, "MOST", len(labels) // 2)
    found = written()
    step = -(-len(labels) // (len(labels) // 2))
    assert (labels[::step], len(labels[::step])) == (found["columns"]["label"], found["photos"])


def test_nothing_of_a_photo_is_kept(released):
    """Neither name nor content: beside its numbers only its class."""
    written()
    assert [] == [row["id"] for row in read_manifest() if row["id"] in REFERENCE.read_text()]
