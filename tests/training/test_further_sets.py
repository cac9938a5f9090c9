"""Test further sets: which photos they contain, and which sets are skipped or rejected."""

import pytest

from tests.support.drawing import draw, encode_image, write_dataset
from tests.training.workspace import write_zip
from training.further_sets import read_extra, read_folder, read_outliers, read_unlabeled
from training.interruption import UserError
from training.photo_dataset import Preprocessor
from training.source import EXTRA, OUTLIERS
from training.split import SPLITS

NAMES = ["cat", "dog"]
FILES = {
    "at the top.jpg": encode_image(draw("rabbit", 0)),
    "rooms/kitchen.png": encode_image(draw("rabbit", 1), "PNG"),
    "rooms/more/cat.0.JPG": encode_image(draw("rabbit", 2)),
    "broken.jpg": b"no",
    "readme.txt": b"hello",
}
READABLE = ["at the top.jpg", "rooms/kitchen.png", "rooms/more/cat.0.JPG"]


# --- sets of the known classes


def test_read_folder_keeps_known_classes(project):
    """A further set has the readable photos of the known classes."""
    known = {f"{label}/{seed}.jpg": encode_image(draw(label, seed)) for label in ("cat", "dog") for seed in range(2)}
    files = known | {"rabbit/0.jpg": encode_image(draw("rabbit", 0)), "cat/broken.jpg": b"no"}
    photos = read_folder(write_zip(project / "more.zip", files), NAMES, Preprocessor(32))
    assert sorted(known) == photos.ids


@pytest.mark.parametrize("counts", [{"cat": 5}, {"rabbit": 5}], ids=["one class", "none"])
def test_extra_set_of_fewer_than_two_classes_is_skipped(project, counts, capsys):
    """A set that shows fewer than two of the classes is skipped with a message."""
    write_dataset(EXTRA / "cattery", counts)
    assert {} == read_extra(NAMES, Preprocessor(32))
    assert "cattery: skipped, it shows fewer than two of the classes cat, dog" in capsys.readouterr().out


@pytest.mark.parametrize("split", SPLITS)
def test_extra_set_with_the_name_of_a_split_is_an_error(project, split):
    """A set with the name of a split is an error, since its metrics would replace those of the split."""
    write_dataset(EXTRA / split, {"cat": 5, "dog": 4})
    with pytest.raises(UserError, match=f"data/raw/extra/{split} has the name of a split"):
        read_extra(NAMES, Preprocessor(32))


# --- outliers


def test_read_unlabeled_reads_every_photo(tmp_path):
    """Every readable photo of an archive is read, whatever its folder and name."""
    photos = read_unlabeled(write_zip(tmp_path / "else.zip", FILES), Preprocessor(32))
    assert READABLE == photos.ids
    assert [(3, 32, 32)] * 3 == [pixels.shape for pixels, _ in photos]


def test_outlier_set_without_photos_is_skipped(project, capsys):
    """A set without a readable photo is skipped with a message."""
    (OUTLIERS / "nothing").mkdir(parents=True)
    (OUTLIERS / "nothing/broken.jpg").write_bytes(b"no")
    assert {} == read_outliers(set(), Preprocessor(32))
    assert "nothing: skipped, it has no readable photo" in capsys.readouterr().out


def test_hidden_files_are_not_sets(project):
    """Hidden files of a file manager are ignored."""
    for folder in (EXTRA, OUTLIERS):
        folder.mkdir(parents=True)
        (folder / ".DS_Store").write_bytes(b"Bud1")
    assert ({}, {}) == (read_extra(NAMES, Preprocessor(32)), read_outliers(set(), Preprocessor(32)))
