"""Test the splits of a data set, given by folders or by hashes, and the overview that counts their photos."""

from collections import Counter

import pytest

from tests.support.drawing import write_dataset
from tests.training.data_sets.drawn_sources import numbered, run, write_files
from tests.training.workspace import write_params
from training import overview
from training.figures import read_figures
from training.source import SourceError
from training.split import SPLITS


def given_splits():
    folders = [f"{split}/{label}/{{}}.jpg" for split in ("train", "valid", "test") for label in ("cat", "dog")]
    return numbered(*folders)


def test_given_splits_are_honored(data):
    """If train, validation and test folders exist, they are the splits; the overview states this."""
    files = given_splits()
    files["train/cat/copy.jpg"] = files["test/cat/3.jpg"]
    manifest = run(write_files(data / "pets", files))
    expected = {name: {"valid": "val"}.get(part := name.split("/")[0], part) for name in files}
    assert expected | {"train/cat/copy.jpg": ""} == {name: row["split"] for name, row in manifest.items()}
    assert "duplicate of a photo in test" == manifest["train/cat/copy.jpg"]["reason"]
    assert "given" == read_figures("prepare")["split"]


def test_given_splits_can_be_ignored(data):
    """With SPLIT=hash, the hashes of the photos decide their splits."""
    manifest = run(write_files(data / "pets", given_splits()), split="hash")
    assert any(row["split"] != name.split("/")[0] for name, row in manifest.items())
    assert "hash" == read_figures("prepare")["split"]


def test_missing_given_split_is_an_error(data):
    """SPLIT=given without all three folders is an error that lists those found."""
    files = {n: c for n, c in given_splits().items() if not n.startswith("valid")}
    with pytest.raises(SourceError, match="SPLIT=given expects folders called train, val and test; found train, test"):
        run(write_files(data / "pets", files), split="given")


def test_class_without_given_split_is_an_error(data):
    """A class that lacks photos in one of the given splits is an error that offers the split by content."""
    files = {n: c for n, c in given_splits().items() if not n.startswith("valid/dog")}
    with pytest.raises(SourceError, match="class 'dog' has 16 photos, none in the 'val' split; SPLIT=hash splits by"):
        run(write_files(data / "pets", files))


@pytest.mark.parametrize("count", [3, 7, 20, 50])
def test_every_class_has_photos_in_each_split(data, count):
    """Five classes of few photos have photos in each split."""
    photos = write_dataset(data / "pets", {"cat": count, "dog": count, "rabbit": count}, size=32)
    write_params(data, prepare__train_share=0.8)
    manifest = run(photos)
    found = Counter((row["label"], row["split"]) for row in manifest.values())
    assert all(found[label, split] for label in ("cat", "dog", "rabbit") for split in SPLITS)


def test_overview_lists_classes_and_warnings(data, capsys):
    """The overview has the layout, the photos per class and split, the files set aside, and warnings."""
    write_params(data, prepare__train_share=0.8)
    files = write_dataset(data / "pets", {"cat": 60, "dog": 5}, size=32)
    (files / "dog/broken.jpg").write_bytes(b"")
    manifest = run(files)
    capsys.readouterr()
    overview.main()
    printed = capsys.readouterr().out
    counts = Counter((row["label"], row["split"]) for row in manifest.values())
    row = next(line.split() for line in printed.splitlines() if line.startswith("dog"))
    assert ["dog", *(str(counts["dog", split]) for split in (*SPLITS, ""))] == row
    assert "layout: class folders; 65 photos of 2 classes; splits by the hash of each photo" in printed
    assert "set aside: 1 of dog: empty file" in printed
    assert "warning: fewer than 100 photos of 'cat', 'dog' (5 of 'dog', 1 for the test)" in printed
    assert "warning: 'cat' has 60 photos and 'dog' 5. Always answering 'cat' would be right on 92.3 %" in printed
