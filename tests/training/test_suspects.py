"""Photos that a network doubts: the mislabelled come first, and what nobody knows."""

import csv

import pytest

from tests.drawing import write_dataset
from tests.training.workspace import link_photos, write_params
from training import prepare, suspects


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Forty cats and forty dogs, of which three cats lie among the dogs; the network sees pixels."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, train__architecture="logistic")
    photos = write_dataset(tmp_path / "photos", {"cat": 43, "dog": 40})
    for seed in range(3):
        (photos / f"cat/{seed}.jpg").rename(photos / f"dog/cat {seed}.jpg")
    link_photos(tmp_path, photos)
    prepare.main()
    return tmp_path


def read():
    with suspects.SUSPECTS.open(newline="") as file:
        return list(csv.DictReader(file))


def test_mislabelled_photos_come_first(project):
    """Of eighty-three photos the three with the wrong label are believed least."""
    suspects.main()
    doubted = [row["id"] for row in read() if row["doubt"] == "label"]
    assert {"dog/cat 0.jpg", "dog/cat 1.jpg", "dog/cat 2.jpg"} == set(doubted[:3])


def test_the_list_leads_to_the_photo(project):
    """A line holds the hash that data/set-aside.csv wants, as the manifest has it."""
    suspects.main()
    with (project / "artifacts/manifest.csv").open(newline="") as file:
        hashes = {row["id"]: row["sha256"] for row in csv.DictReader(file)}
    assert all(hashes[row["id"]] == row["sha256"] for row in read())


def test_the_sheet_is_drawn(project):
    """Beside the list there is a picture of all suspects, to be looked at."""
    suspects.main()
    assert (project / suspects.SHEET).read_bytes().startswith(b"\x89PNG")
