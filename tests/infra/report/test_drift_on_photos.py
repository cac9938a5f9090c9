"""On real photos: what is no longer like the reference alarms within 500 requests, what is like it does not."""

from hashlib import sha256
from io import BytesIO
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import ImageEnhance, ImageFilter

from export.reference import logged
from infra.report.alarms import accuracy, retrain
from infra.report.drift import JUDGED, Reference, judge
from infra.report.label_metrics import figures
from infra.report.log_reader import Table
from lambda_app.classifier import Classifier
from lambda_app.preprocess import decode
from lambda_app.settings import Settings
from training import config
from training.source import Source, discover
from training.split import natural_split

pytestmark = pytest.mark.photos
REQUESTS = 120  # of the 500 that may pass before the alarm; the fewer, the quicker the test
UNTOUCHED = 400
OXFORD = 300  # of each half


def cropped(image):
    """The middle quarter, as large as the photo was."""
    width, height = image.size
    return image.crop((width // 4, height // 4, width * 3 // 4, height * 3 // 4)).resize(image.size)


# What is done to a photo, and the signal that has to notice.
EDITS = {
    "blurred": (lambda image: image.filter(ImageFilter.GaussianBlur(2)), "sharpness"),
    "dark": (lambda image: ImageEnhance.Brightness(image).enhance(0.6), "brightness"),
    "greyscale": (lambda image: image.convert("L"), "saturation"),
    "cropped": (cropped, "sharpness"),
}


@pytest.fixture(scope="module")
def released():
    return Classifier.load(Settings().model_path)


@pytest.fixture(scope="module")
def held_out(shared):
    """Photos, as bytes, with their class: of the validation split, so neither trained on nor in the reference."""
    source, share = Source(shared / "data/dogs-vs-cats.zip"), config.load(config.Prepare).train_share
    found = []
    for name, label in discover(source.names()).labels.items():
        data = source.read(name)
        if data and name.endswith(".jpg") and natural_split(sha256(data).hexdigest(), share) == "val":
            found.append((data, label))
    np.random.default_rng(0).shuffle(found)
    return found[:UNTOUCHED]


@pytest.fixture(scope="module")
def untouched(released, held_out):
    return columns([logged(released, data) for data, _ in held_out])


def columns(rows):
    """As the report reads them from the log."""
    found = {name: np.array([row[name] for row in rows], float) for name in JUDGED if name != "predicted_class"}
    return found | {"predicted_class": np.array([row["predicted_class"] for row in rows], object)}


def drifted(photos, reference):
    return {name for name, found in judge(photos, reference).items() if found["drifted"]}


def edited(data, edit):
    buffer = BytesIO()
    edit(decode(data)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def test_untouched_photos_do_not_alarm(untouched, reference):
    """Four hundred that are new to model and reference, and the first of them."""
    assert set() == drifted(untouched, reference)
    assert set() == drifted({name: column[:REQUESTS] for name, column in untouched.items()}, reference)


@pytest.mark.parametrize("edit", EDITS)
def test_another_camera_alarms(released, held_out, reference, edit):
    """By the signal that shows the fault, not only by the size of the files."""
    change, signal = EDITS[edit]
    photos = columns([logged(released, edited(data, change)) for data, _ in held_out[:REQUESTS]])
    assert signal in drifted(photos, reference)


def test_other_species_alarm(released, shared, reference):
    """Scenes, flowers and faces: the network does not recognise them, and says so."""
    with ZipFile(shared / "data/not-pets.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        photos = columns([logged(released, archive.read(name)) for name in names[:: len(names) // REQUESTS]])
    assert {"familiarity", "unknown", "confidence", "entropy"} <= drifted(photos, reference)


def test_another_mix_of_classes_alarms(untouched, held_out, reference):
    """Four dogs to each cat, of photos that are otherwise like the reference."""
    label = np.array([label for _, label in held_out])
    dogs, cats = np.flatnonzero(label == "dog"), np.flatnonzero(label == "cat")
    rows = np.concatenate([dogs[:REQUESTS], cats[: REQUESTS // 4]])
    assert "predicted_class" in drifted({name: column[rows] for name, column in untouched.items()}, reference)


@pytest.fixture(scope="module")
def oxford(released, shared):
    """The first of another source's photos in an order of no meaning, which the network knows as well."""
    with ZipFile(shared / "data/oxford-pets-trainval.zip") as archive:
        names = sorted((n for n in archive.namelist() if n.endswith(".jpg")), key=lambda n: sha256(n.encode()).digest())
        names = names[: 2 * OXFORD]
        rows = [logged(released, archive.read(name)) for name in names]
    return columns(rows) | {"label": np.array([name.split("/")[-2] for name in names], object)}


def rows_of(photos, rows):
    return {name: column[rows] for name, column in photos.items()}


def test_another_source_is_as_usual_once_it_is_the_baseline(oxford, released, reference):
    """By one half of it the other does not alarm; and what is done to a photo still does."""
    half = Reference("1", rows_of(oxford, slice(OXFORD)))
    other = rows_of(oxford, slice(OXFORD, None))
    assert set() == drifted(other, half)
    assert {"brightness"} == drifted(other | {"brightness": other["brightness"] * 0.6}, half)


def test_another_source_starts_no_retraining(oxford, reference):
    """Against the test split it alarms, by more than size and class mix; labels say that the model is as right."""
    signals = judge(oxford, reference)
    drift = {"judged": True, "drifted": [name for name, found in signals.items() if found["drifted"]]}
    table = Table({**oxford, "time": np.arange(len(oxford["label"]))})
    assert "confidence" in drift["drifted"]
    assert retrain(drift, {"judged": False})[0]
    assert not retrain(drift, accuracy(figures(table), "1", reference))[0]
