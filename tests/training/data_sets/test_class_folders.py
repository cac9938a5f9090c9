"""Test class folders: which level of folders names the classes, and errors that name the faulty folder."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.drawing import write_dataset
from tests.training.data_sets.drawn_sources import classes, numbered, run, write_files
from training.figures import read_figures
from training.source import Source, SourceError, detect_layout


@pytest.mark.parametrize(
    "folders",
    [
        ("cat/2021", "cat/2022", "dog/2021"),
        ("pets/cat/session1", "pets/cat/session2", "pets/dog/session1"),
        ("cat/images", "dog/images"),
        ("2021/cat", "2021/dog", "2022/cat"),
        ("camera1/cat", "camera1/dog", "camera2/cat", "camera2/dog"),
        ("cat", "dog/2021-05-01", "dog/2021-05-02"),
        ("spain/01/cat", "spain/02/dog", "spain/02/cat"),
    ],
    ids=" ".join,
)
def test_level_with_names_is_the_class(folders):
    """Years, numbers, sessions and words for photos, below or above the class folders, are not classes."""
    layout = detect_layout([f"{folder}/{i}.jpg" for folder in folders for i in range(3)])
    assert {"cat", "dog"} == set(layout.labels.values())


AMBIGUOUS = ["cat/persian/1.jpg", "cat/siamese/1.jpg", "dog/beagle/1.jpg", "dog/pug/1.jpg"]


def test_ambiguous_folders_are_an_error_with_both_readings():
    """If two levels may name the classes, the error shows both readings and how to choose."""
    with pytest.raises(SourceError) as error:
        detect_layout(AMBIGUOUS)
    assert "CLASSES=top reads 2 classes (cat, dog)" in str(error.value)
    assert "CLASSES=bottom reads 4 classes (beagle, persian, pug, siamese)" in str(error.value)


@pytest.mark.parametrize(
    ("choice", "expected"), [("top", {"cat", "dog"}), ("bottom", {"persian", "siamese", "beagle", "pug"})]
)
def test_choice_selects_the_level(data, choice, expected):
    """CLASSES=top or bottom selects the level of folders; it applies until DATA changes."""
    folder = write_files(data / "pets", numbered(*(f"{name[:-5]}{{}}.jpg" for name in AMBIGUOUS)))
    assert expected == set(classes(run(folder, choice)))
    assert expected == set(classes(run()))


def test_choice_of_top_allows_photos_at_two_depths():
    """With CLASSES=top, photos in a class folder and in its subfolders have the same class."""
    layout = detect_layout(["cat/1.jpg", "cat/tabby/2.jpg", "dog/3.jpg"], "top")
    assert {"cat/1.jpg": "cat", "cat/tabby/2.jpg": "cat", "dog/3.jpg": "dog"} == layout.labels


def test_class_may_have_the_name_of_a_split():
    """A folder called train is a class if its siblings are not splits."""
    layout = detect_layout(["bus/1.jpg", "train/1.jpg", "plane/1.jpg"])
    assert {"bus", "train", "plane"} == set(layout.labels.values())
    assert {"train/1.jpg": "train"} == layout.splits


def test_aliases_and_case_variants_are_merged_and_reported(data):
    """`cats` counts as `cat` (prepare.aliases), `Cat` and `cat` are one class, and both are reported."""
    layout = detect_layout(["Cat/1.jpg", "cat/2.jpg", "dogs/1.jpg"])
    assert ("folders Cat, cat are one class, 'cat'",) == layout.notes
    manifest = run(write_files(data / "pets", numbered("Cats/{}.jpg", "dogs/{}.jpg")))
    assert {"cat": 8, "dog": 8} == classes(manifest)
    notes = read_figures("prepare")["notes"]
    assert [f"class '{name}s' counts as '{name}' (prepare.aliases)" for name in ("cat", "dog")] == notes


def test_link_to_a_class_folder_is_an_error(data):
    """A link to a folder is an error that names the link and its target."""
    write_dataset(data / "elsewhere", {"cat": 5}, size=32)
    photos = write_dataset(data / "pets", {"dog": 5}, size=32)
    (photos / "cat").symlink_to(data / "elsewhere/cat")
    with pytest.raises(SourceError, match=r"pets/cat is a link to the folder .*elsewhere/cat; links to folders"):
        run(photos)


def test_class_of_hidden_files_is_an_error(data):
    """If all photos of a class are hidden files, the error states this."""
    photos = write_files(data / "pets", numbered("cat/{}.jpg", "dog/.{}.jpg"))
    with pytest.raises(SourceError, match=r"class folder 'dog' holds no photo \(8 files: hidden file\)"):
        run(photos)


@contextmanager
def unprivileged():
    """Act as a user without permissions, because root may read every file."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_folder_without_permission_is_an_error():
    """A class folder that the user may not list is an error that names it and the cause."""
    with tempfile.TemporaryDirectory() as name:
        photos = write_dataset(Path(name) / "pets", {"cat": 1, "dog": 1}, size=32)
        for folder in (Path(name), photos, photos / "cat"):
            folder.chmod(0o755)
        (photos / "dog").chmod(0)
        with (
            unprivileged(),
            pytest.raises(SourceError, match=r"dog: the folder cannot be listed \(Permission denied\)"),
        ):
            Source(photos).names()
        (photos / "dog").chmod(0o755)


def test_class_of_broken_files_states_their_faults(data):
    """If no file of a class is readable, the error counts the reasons."""
    files = numbered("cat/{}.jpg") | {"dog/1.jpg": b"", "dog/2.jpg": b"no"}
    with pytest.raises(SourceError, match=r"'dog' is empty: .* \(1 empty file, 1 unsupported_image\)"):
        run(write_files(data / "pets", files))
