"""Test drift detection on real photos: changed photos raise an alarm within 500 requests, others do not."""

from hashlib import sha256
from zipfile import ZipFile

import numpy as np
import pytest
from pandas import DataFrame
from PIL import ImageEnhance, ImageFilter

from export.drift_reference import prediction_fields
from infra.report.alarms import decide_retraining, judge_accuracy
from infra.report.drift import SIGNAL_COLUMNS, measure_drift
from infra.report.label_metrics import accuracy_figures
from infra.report.reference import Reference
from lambda_app.preprocess import decode
from tests.support.drawing import encode_image
from tests.support.held_out_photos import read_held_out

pytestmark = pytest.mark.photos
REQUESTS = 120  # of the 500 allowed; fewer requests make the test faster
UNCHANGED = 400
OXFORD = 300  # photos per half


def cropped(image):
    """Return the middle quarter, enlarged to the size of the photo."""
    width, height = image.size
    return image.crop((width // 4, height // 4, width * 3 // 4, height * 3 // 4)).resize(image.size)


# Edits, and the signal that must drift.
EDITS = {
    "blurred": (lambda image: image.filter(ImageFilter.GaussianBlur(2)), "sharpness"),
    "dark": (lambda image: ImageEnhance.Brightness(image).enhance(0.6), "brightness"),
    "grayscale": (lambda image: image.convert("L"), "saturation"),
    "cropped": (cropped, "sharpness"),
}


@pytest.fixture(scope="module")
def held_out(shared):
    """Return labels and photos of the validation split: neither in training nor in the reference."""
    return read_held_out(shared, "val", UNCHANGED)


@pytest.fixture(scope="module")
def unchanged(released_classifier, held_out):
    return columns([prediction_fields(released_classifier, data) for _, data in held_out])


def columns(rows):
    """Return the columns that the report reads from the log."""
    found = {name: np.array([row[name] for row in rows], float) for name in SIGNAL_COLUMNS if name != "predicted_class"}
    return found | {"predicted_class": np.array([row["predicted_class"] for row in rows], object)}


def drifted(photos, reference):
    return {name for name, figures in measure_drift(photos, reference).items() if figures["drifted"]}


def edited(data, edit):
    return encode_image(edit(decode(data)), quality=90)


def test_unchanged_photos_raise_no_alarm(unchanged, reference):
    """Neither 400 new photos nor the first 120 of them drift."""
    assert set() == drifted(unchanged, reference)
    assert set() == drifted({name: column[:REQUESTS] for name, column in unchanged.items()}, reference)


@pytest.mark.parametrize("edit", EDITS)
def test_edited_photos_raise_an_alarm(released_classifier, held_out, reference, edit):
    """The signal that corresponds to the edit drifts."""
    change, signal = EDITS[edit]
    photos = columns([prediction_fields(released_classifier, edited(data, change)) for _, data in held_out[:REQUESTS]])
    assert signal in drifted(photos, reference)


def test_other_subjects_raise_an_alarm(released_classifier, shared, reference):
    """Scenes, flowers and faces lower the familiarity and the confidence."""
    with ZipFile(shared / "data/not-pets.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        photos = columns(
            [prediction_fields(released_classifier, archive.read(name)) for name in names[:: len(names) // REQUESTS]]
        )
    assert {"familiarity", "unknown", "confidence", "entropy"} <= drifted(photos, reference)


def test_changed_class_mix_raises_an_alarm(unchanged, held_out, reference):
    """Four dogs per cat drift, with photos that are otherwise like the reference."""
    label = np.array([label for label, _ in held_out])
    dogs, cats = np.flatnonzero(label == "dog"), np.flatnonzero(label == "cat")
    rows = np.concatenate([dogs[:REQUESTS], cats[: REQUESTS // 4]])
    assert "predicted_class" in drifted({name: column[rows] for name, column in unchanged.items()}, reference)


@pytest.fixture(scope="module")
def oxford(released_classifier, shared):
    """Return photos of another source, in pseudorandom order, that the model classifies equally well."""
    with ZipFile(shared / "data/oxford-pets-trainval.zip") as archive:
        names = sorted((n for n in archive.namelist() if n.endswith(".jpg")), key=lambda n: sha256(n.encode()).digest())
        names = names[: 2 * OXFORD]
        rows = [prediction_fields(released_classifier, archive.read(name)) for name in names]
    return columns(rows) | {"label": np.array([name.split("/")[-2] for name in names], object)}


def rows_of(photos, rows):
    return {name: column[rows] for name, column in photos.items()}


def test_other_source_raises_no_alarm_with_its_own_baseline(oxford, released_classifier, reference):
    """With one half as the baseline, the other half does not drift, but darker photos do."""
    half = Reference("1", rows_of(oxford, slice(OXFORD)))
    other = rows_of(oxford, slice(OXFORD, None))
    assert set() == drifted(other, half)
    assert {"brightness"} == drifted(other | {"brightness": other["brightness"] * 0.6}, half)


def test_other_source_needs_no_retraining_with_labels(oxford, reference):
    """The other source drifts from the test split, but labels confirm the accuracy, so no retraining is needed."""
    signals = measure_drift(oxford, reference)
    drift = {"judged": True, "drifted": [name for name, found in signals.items() if found["drifted"]]}
    assert "confidence" in drift["drifted"]
    assert decide_retraining(drift, {"judged": False})[0]
    assert not decide_retraining(drift, judge_accuracy(accuracy_figures(DataFrame(oxford)), "1", reference))[0]
