"""On real photos: what is no longer like the test split alarms within 500 requests, what is like it does not."""

from hashlib import sha256
from io import BytesIO
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import ImageEnhance, ImageFilter

from export.reference import logged
from infra.report.drift import JUDGED, judge
from lambda_app.classifier import Classifier
from lambda_app.preprocess import decode
from lambda_app.settings import Settings
from training import config
from training.source import Source, discover
from training.split import natural_split

pytestmark = pytest.mark.photos
REQUESTS = 120  # of the 500 that may pass before the alarm; the fewer, the quicker the test
UNTOUCHED = 400


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
