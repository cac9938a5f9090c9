"""Test several sources in DATA: their merged photos, and the list by which DVC notices a change."""

import shutil
from pathlib import Path

import pytest

from tests.support.drawing import draw, encode_image, write_dataset
from tests.training.data_sets.drawn_sources import classes, numbered, pictures, reasons, run, write_files
from tests.training.workspace import write_zip
from training.fetch import place_photos
from training.figures import read_figures
from training.harvest.data_set import ACCEPTED_FOLDER, CONTRIBUTIONS
from training.interruption import UserError
from training.source import PHOTOS, Source, SourceError, SourceList
from training.source.collection import unique_names


@pytest.mark.parametrize("quoted", [True, False])
def test_several_sources_are_merged(data, quoted):
    """Several sources, with spaces in their paths, are one set; duplicates across sources count once."""
    first = write_files(data / "my photos", numbered("cat/{}.jpg", "dog/{}.jpg"))
    more = numbered("train/cat.{}.jpg", "train/dog.{}.jpg", count=12)
    second = write_zip(data / "more photos.zip", more)
    names = [f"'{path}'" if quoted else str(path) for path in (first, second)]
    manifest = run(" ".join(names))
    assert "class folders + kaggle" == read_figures("prepare")["layout"]
    assert {str(first), str(second)} == set(SourceList.read(PHOTOS).sources)
    same = {row["sha256"] for name, row in manifest.items() if name.startswith("my photos/")}
    assert len(manifest) - len({row["sha256"] for row in manifest.values()}) == reasons(manifest).total()
    assert same & {row["sha256"] for name, row in manifest.items() if name.startswith("more photos.zip/")}


def test_contributions_add_no_class(data):
    """Contributions of a class that no other source has are set aside, so that all limits still apply."""
    photos = write_files(data / "pets", numbered("cat/{}.jpg", "dog/{}.jpg"))
    contributed = CONTRIBUTIONS / ACCEPTED_FOLDER
    write_files(contributed, pictures("cat/new.jpg", "rabbit/1.jpg", "rabbit/2.jpg", start=50))
    manifest = run(f"{photos} {contributed}")
    assert {"cat": 9, "dog": 8} == classes(manifest)
    assert {"contributed for a class that no other source has": 2} == reasons(manifest)


def test_classes_may_be_numbers_beside_contributions(data):
    """Folders called 1 and 2 are classes if the only other source is the contributions to them."""
    photos = write_files(data / "digits", numbered("1/cat{}.jpg", "2/dog{}.jpg"))
    write_files(CONTRIBUTIONS / ACCEPTED_FOLDER, pictures("1/new_cat.jpg", start=50))
    assert {"1": 9, "2": 8} == classes(run(f"{photos} {CONTRIBUTIONS / ACCEPTED_FOLDER}"))


def test_sources_of_one_class_each_are_classes(data):
    """A source whose photos are not in folders is one class with the name of the source."""
    for label in ("cat", "dog"):
        write_files(data / label, numbered(f"{label}{{}}.jpg"))
    assert {"cat": 8, "dog": 8} == classes(run("cat dog"))


def test_one_source_replaces_a_list(data):
    """After several sources, a single one is linked again."""
    photos = write_dataset(data / "a", {"cat": 8, "dog": 8}, size=32)
    place_photos(f"{photos}", "bottom", "")
    place_photos(f"{photos}", "", "")
    assert photos == PHOTOS.readlink()


def test_choices_stay_without_data(data):
    """Without DATA, a new CLASSES or SPLIT keeps the other one; the next DATA resets both."""
    write_dataset(data / "a", {"cat": 1, "dog": 1}, size=32)
    for given, expected in (
        (("a", "top", ""), ("top", "")),
        (("", "", "hash"), ("top", "hash")),
        (("", "bottom", ""), ("bottom", "hash")),
        (("", "", ""), ("bottom", "hash")),
        (("a", "", "hash"), ("", "hash")),
    ):
        place_photos(*given)
        listed = SourceList.read(PHOTOS)
        assert (expected, (str(data / "a"),)) == ((listed.classes, listed.split), listed.sources)


@pytest.mark.parametrize("sources", ["a nowhere", "a 'b"])
def test_unknown_source_is_an_error(data, sources):
    """A word that is not a source, or a quote that is not closed, is an error that names it."""
    write_dataset(data / "a", {"cat": 1, "dog": 1}, size=32)
    with pytest.raises(UserError, match=r"'nowhere' is not a file, a folder or a name|No closing quotation"):
        place_photos(sources, "", "")


def test_changed_source_changes_the_list(data):
    """A new file in one of several sources changes the list, so that DVC prepares the photos again."""
    photos = write_dataset(data / "a", {"cat": 8, "dog": 8}, size=32)
    run(f"{photos}", classes="bottom")
    before = PHOTOS.read_text()
    (photos / "cat/new.jpg").write_bytes(encode_image(draw("cat", 99, 32)))
    run()
    assert before != PHOTOS.read_text()


def list_photos(*sources):
    """Return the list that DVC compares after `make train DATA=` with several sources."""
    place_photos(" ".join(map(str, sources)), "bottom", "")
    return PHOTOS.read_text()


@pytest.fixture
def sources(data):
    """Return a folder with a table and a large file, and an archive."""
    folder = write_dataset(data / "first/a", {"cat": 2, "dog": 2}, size=32)
    (folder / "labels.csv").write_text("id,label\n" + "".join(f"{i},cat\n" for i in range(2000)))
    (folder / "large.bin").write_bytes(bytes(range(256)) * 1000)
    for name in ("a.tar", "a.parquet"):
        (folder / name).write_bytes(bytes(range(256)) * 1000)
    return folder, write_zip(data / "first/b.zip", numbered("cat/{}.jpg"))


def test_copied_sources_are_the_same_list(sources, data):
    """Neither the place nor the times of the files change the list, so that DVC does not train again."""
    before = list_photos(*sources)
    shutil.copytree(data / "first", data / "second")
    after = list_photos(data / "second/a", data / "second/b.zip")
    assert before == after
    assert str(data) not in after
    assert (str(data / "second/a"), str(data / "second/b.zip")) == SourceList.read(PHOTOS).sources


def edit(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: edit(folder / "labels.csv", 5000),
        lambda folder: edit(folder / "large.bin", -1),
        lambda folder: edit(folder / "large.bin", 128_000),
        lambda folder: edit(folder / "a.tar", 5000),
        lambda folder: edit(folder / "a.parquet", 5000),
        lambda folder: edit(folder / "cat/0.jpg", 300),
        lambda folder: edit(folder.parent / "b.zip", -1),
        lambda folder: (folder / "cat/0.jpg").rename(folder / "dog/new.jpg"),
        lambda folder: (folder / "cat/0.jpg").unlink(),
        lambda folder: (folder / "large.bin").write_bytes(bytes(range(256)) * 1001),
    ],
    ids=[
        "table",
        "end",
        "middle",
        "label in a tar",
        "label in a Parquet file",
        "photo",
        "archive",
        "renamed",
        "removed",
        "longer",
    ],
)
def test_edited_sources_change_the_list(sources, change):
    """An edit that leaves names and sizes as they are changes the list, too."""
    before = list_photos(*sources)
    change(sources[0])
    assert before != list_photos(*sources)


def test_sources_of_the_same_name_are_numbered(data):
    """Two folders of one name are different sources, before and after the list is read again."""
    paths = [write_dataset(data / place / "pets", {"cat": 1, "dog": 1}, size=32) for place in ("x", "y")]
    list_photos(*paths)
    assert tuple(map(str, paths)) == SourceList.read(PHOTOS).sources
    assert {"pets", "pets (2)"} == {name.split("/")[0] for name in Source(PHOTOS).names()}


def test_lost_link_is_named(sources):
    """If the link to a source was deleted, the error names it, and naming the sources again repairs the list."""
    list_photos(*sources)
    (PHOTOS.parent / "photos-links/a").unlink()
    with pytest.raises(
        SourceError, match=r"lists 'a', but data/raw/photos-links/a is missing; name all sources in DATA="
    ):
        Source(PHOTOS)
    list_photos(*sources)
    assert Source(PHOTOS).names()


def test_number_in_a_name_is_not_given_twice():
    """A source called `cats (2)` keeps its name, and no other source gets it."""
    paths = [Path("/a/cats (2)"), Path("/b/cats"), Path("/c/cats")]
    assert ["cats (2)/", "cats/", "cats (3)/"] == unique_names(paths)


def test_sources_of_one_class_each_need_no_suffixes(data):
    """The photos of a source that is one class are recognized by their content; hidden files are set aside."""
    for label in ("cat", "dog"):
        write_files(data / label, numbered(f"{label}{{}}") | {".hidden": b""})
    manifest = run("cat dog")
    assert {"cat": 8, "dog": 8} == classes(manifest)
    assert {"hidden file": 2} == reasons(manifest)
