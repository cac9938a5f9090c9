"""Test archives and folders of photos: labels, and names that are rejected."""

import multiprocessing
import os
import pickle
import posixpath
import stat
import sys
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.workspace import write_zip
from training.source import Source, SourceError, detect_layout

LAYOUTS = {
    "Microsoft's archive": {
        "PetImages/Cat/0.jpg": "cat",
        "PetImages/Cat/Thumbs.db": "cat",  # not a photo: prepare sets it aside and counts it
        "PetImages/Dog/0.jpg": "dog",
        "readme[1].txt": None,
        "MSR-LA - 3467.docx": None,
    },
    "Kaggle's archive": {
        "train/cat.0.jpg": "cat",
        "train/dog.0.jpg": "dog",
        "train/dog.12499.jpg": "dog",
        "test1/1.jpg": None,
        "notes.1.txt": None,
        "sampleSubmission.csv": None,
    },
    "Kaggle's files in one folder": {"cat.0.jpg": "cat", "dog.0.jpg": "dog"},
    "your own folders": {
        "cat/a.png": "cat",
        "rabbit/holiday 1.WEBP": "rabbit",
        "Maine Coon/IMG_0001.jpeg": "maine coon",
        "ÑU/ß.tiff": "ñu",
        "at the top.jpg": None,
    },
    "by year": {"2021/a/cat/1.jpg": "cat", "2021/a/dog/1.jpg": "dog", "2022/a/cat/1.jpg": "cat"},
    "hidden files of systems": {
        "Photos/cat/1.jpg": "cat",
        "Photos/dog/1.jpg": "dog",
        "Photos/dog/.hidden.jpg": None,
        "Photos/.thumbnails/1.jpg": None,
        "__MACOSX/Photos/cat/1.jpg": None,
        ".DS_Store": None,
    },
    "numbered names in class folders": {"Cat/img.1.jpg": "cat", "Dog/img.1.jpg": "dog"},
    "a few dotted names in a class folder": {
        "cat/beach.2020.jpg": "cat",
        "cat/garden.2021.jpg": "cat",
        **{f"dog/{i}.jpg": "dog" for i in range(10)},
    },
    "Kaggle's names, split by hand": {
        "train/cat.0.jpg": "cat",
        "train/dog.0.jpg": "dog",
        "val/cat.1.jpg": "cat",
        "val/dog.1.jpg": "dog",
    },
}


@pytest.fixture(params=["zip", "folder"])
def source_of(request, tmp_path):
    """Return a function that writes files to an archive or a folder and returns its Source.

    A name that ends in `/` is an empty folder.
    """

    def make(files):
        if request.param == "zip":
            return Source(write_zip(tmp_path / "photos.zip", files))
        for name, data in files.items():
            path = tmp_path / "photos" / name
            (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
            if not name.endswith("/"):
                path.write_bytes(data)
        return Source(tmp_path / "photos")

    return make


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_layout_is_detected(source_of, files):
    """Each photo has the label of its class, in lower case; every other file has a reason."""
    layout = detect_layout(source_of(dict.fromkeys(files, b"data")).names())
    assert {name: label for name, label in files.items() if label} == layout.labels
    assert {name for name, label in files.items() if not label} == set(layout.unlabeled)
    assert all(layout.unlabeled.values())


def test_empty_class_folder_is_found(source_of):
    """A folder without photos beside the class folders is found, unless it is hidden."""
    files = ["pets/cat/1.jpg", "pets/dog/1.jpg", "pets/rabbit/", "pets/.cache/", "__MACOSX/"]
    layout = detect_layout(source_of(dict.fromkeys(files, b"")).names())
    assert ("pets/rabbit",) == layout.empty_folders


def test_read_returns_the_bytes(source_of):
    """Bytes are returned unchanged."""
    assert b"\x00\xff" == source_of({"cat/1.jpg": b"\x00\xff"}).read("cat/1.jpg")


def test_names_are_sorted(source_of):
    """The order of names does not depend on the order in the archive."""
    names = source_of(dict.fromkeys(["b/2.jpg", "a/1.jpg", "b/1.jpg"], b"")).names()
    assert ["a/1.jpg", "b/1.jpg", "b/2.jpg"] == [name for name in names if not name.endswith("/")]


def test_forked_worker_opens_the_archive_itself(tmp_path):
    """A forked worker opens the archive again, since sharing it would move the parent's file offset."""
    source = Source(write_zip(tmp_path / "photos.zip", {f"cat/{i}.jpg": bytes(100_000) for i in (1, 2)}))
    file = source.trees[""].reader.archive.get().fp.fileno()
    offset = os.lseek(file, 0, os.SEEK_CUR)
    worker = multiprocessing.get_context("fork").Process(target=lambda: sys.exit(len(source.read("cat/1.jpg")) // 1000))
    worker.start()
    worker.join()
    assert (100, offset) == (worker.exitcode, os.lseek(file, 0, os.SEEK_CUR))


def test_source_with_open_archive_pickles(tmp_path):
    """A source with an open archive is pickled by its path."""
    source = Source(write_zip(tmp_path / "photos.zip", {"cat/1.jpg": b"1"}))
    source.names()
    assert b"1" == pickle.loads(pickle.dumps(source)).read("cat/1.jpg")


@pytest.mark.parametrize(
    "name", ["../x.jpg", "cat/../../x.jpg", "/etc/x.jpg", "..\\x.jpg", "cat\\..\\..\\x.jpg", "C:/x.jpg", "C:\\x.jpg"]
)
def test_path_outside_the_folder_is_an_error(tmp_path, name):
    """An archive with a path outside its folder is rejected, and the error names the path."""
    source = Source(write_zip(tmp_path / "photos.zip", {"cat/1.jpg": b"", name: b""}))
    with pytest.raises(SourceError) as error:
        source.names()
    assert f"{tmp_path / 'photos.zip'} holds {name!r}, a path that leaves its folder" in str(error.value)


@given(st.text("./\\:Ca", min_size=1, max_size=12))
def test_accepted_names_are_inside_the_folder(tmp_path_factory, name):
    """Any name in an archive is rejected or is inside the folder."""
    source = Source(write_zip(tmp_path_factory.getbasetemp() / "name.zip", {name: b""}))
    try:
        source.names()
    except SourceError:
        return
    assert posixpath.normpath(posixpath.join("/root", name)).startswith("/root")


@pytest.mark.parametrize("name", ["cat\\1.jpg", "cat/\x1b[2J.jpg", "cat/line\nbreak.jpg"])
def test_unprintable_name_is_an_error(tmp_path, name):
    """A name with control characters or a backslash is rejected and quoted."""
    with pytest.raises(SourceError) as error:
        Source(write_zip(tmp_path / "photos.zip", {name: b""})).names()
    assert f"holds {name!r}; expected a printable name" in str(error.value)


SCREENSHOT = "Screenshot 2026-01-31 at 3.04.05\u202fPM.png"  # macOS puts a narrow no-break space before PM


@pytest.mark.parametrize(
    "name", [SCREENSHOT, "gr\u00fc\u00df\u00a0Gott.jpg", "\U0001f469\u200d\U0001f9b0.jpg"], ids=ascii
)
def test_names_of_any_script_are_accepted(tmp_path, name):
    """Letters, signs and spaces of any script are accepted."""
    source = Source(write_zip(tmp_path / "photos.zip", {f"cat/{name}": b""}))
    assert [f"cat/{name}"] == source.names()


def test_photos_at_two_depths_are_an_error():
    """If photos are in a folder and in its subfolders, the error names both."""
    with pytest.raises(SourceError, match="'pets/cat' and in its subfolder 'pets/cat/tabby'; expected one of the two"):
        detect_layout(["pets/cat/1.jpg", "pets/cat/tabby/2.jpg", "pets/dog/3.jpg"])


def test_symbolic_link_in_an_archive_is_an_error(tmp_path):
    """An archive with a symbolic link is rejected, and the error names the link."""
    info = zipfile.ZipInfo("cat/passwd.jpg")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(SourceError, match=r"photos\.zip holds 'cat/passwd\.jpg', a symbolic link"):
        Source(tmp_path / "photos.zip").names()


def test_missing_source_is_an_error(tmp_path):
    """For a path that does not exist, the error names it."""
    with pytest.raises(SourceError, match=r"nowhere does not exist; expected a \.zip, \.tar"):
        Source(tmp_path / "nowhere")


def test_file_that_is_not_an_archive_is_an_error(tmp_path):
    """For a file that is not an archive, the error names it."""
    (tmp_path / "photos.tar").write_bytes(b"not a zip")
    with pytest.raises(SourceError, match=r"photos\.tar is neither a folder nor an archive"):
        Source(tmp_path / "photos.tar")
