"""Photos that a network doubts: the mislabelled come first, and what nobody knows."""

import csv
from contextlib import chdir

import pytest

from tests.drawing import write_dataset
from tests.training.workspace import link_photos, write_params
from training import prepare
from training.tools import suspects


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Forty cats and forty dogs, of which three cats lie among the dogs, after the search; the network sees pixels."""
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


def test_mislabelled_photos_come_first(searched):
    """Of eighty-three photos the three with the wrong label are believed least."""
    doubted = [row["id"] for row in read(searched) if row["doubt"] == "label"]
    assert {"dog/cat 0.jpg", "dog/cat 1.jpg", "dog/cat 2.jpg"} == set(doubted[:3])


def test_the_list_leads_to_the_photo(searched):
    """A line holds the hash that data/set-aside.csv wants, as the manifest has it."""
    with (searched / "artifacts/manifest.csv").open(newline="") as file:
        hashes = {row["id"]: row["sha256"] for row in csv.DictReader(file)}
    assert all(hashes[row["id"]] == row["sha256"] for row in read(searched))


def test_the_sheet_is_drawn(searched):
    """Beside the list there is a picture of all suspects, to be looked at."""
    assert (searched / suspects.SHEET).read_bytes().startswith(b"\x89PNG")
