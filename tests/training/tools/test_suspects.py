"""Suspects: mislabeled photos come first."""

import csv
from contextlib import chdir

import pytest

from tests.drawing import write_dataset
from tests.training.workspace import link_photos, write_params
from training import prepare
from training.tools import suspects


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Return a project after the search, with three cats among forty dogs; the network is logistic regression."""
    folder = tmp_path_factory.mktemp("searched")
    write_params(folder, train__architecture="logistic")
    photos = write_dataset(folder / "photos", {"cat": 43, "dog": 40})
    for seed in range(3):
        (photos / f"cat/{seed}.jpg").rename(photos / f"dog/cat {seed}.jpg")
    link_photos(folder, photos)
    with chdir(folder):
        prepare.main()
        suspects.main()
    return folder


def read(folder):
    with (folder / suspects.SUSPECTS).open(newline="") as file:
        return list(csv.DictReader(file))


def test_mislabeled_photos_come_first(searched):
    """Of 83 photos the three with the wrong label have the lowest probabilities."""
    doubted = [row["id"] for row in read(searched) if row["doubt"] == "label"]
    assert {"dog/cat 0.jpg", "dog/cat 1.jpg", "dog/cat 2.jpg"} == set(doubted[:3])


def test_list_has_the_hash_of_each_photo(searched):
    """Each row has the hash from the manifest, for data/set-aside.csv."""
    with (searched / "artifacts/manifest.csv").open(newline="") as file:
        hashes = {row["id"]: row["sha256"] for row in csv.DictReader(file)}
    assert all(hashes[row["id"]] == row["sha256"] for row in read(searched))


def test_sheet_is_drawn(searched):
    """A picture of all suspects is written beside the list."""
    assert (searched / suspects.SHEET).read_bytes().startswith(b"\x89PNG")
