"""Test finding the photos of a data set: in archives, by their content, and copies only once."""

import tarfile

import pytest

from tests.support import ROOT
from tests.training.data_sets.drawn_sources import classes, numbered, packed, reasons, run, write_files
from tests.training.workspace import write_zip, zipped
from training.source import SourceError, detect_layout
from training.split import SPLITS


def test_archives_in_a_competition_archive_are_read(data):
    """The archives in Kaggle's competition archive are read: train.zip has labels, test1.zip has none."""
    files = {
        "train.zip": zipped(numbered("train/cat.{}.jpg", "train/dog.{}.jpg")),
        "test1.zip": zipped(numbered("test1/{}.jpg", count=3)),
        "sampleSubmission.csv": b"id,label\n1,0\n2,0\n",
    }
    manifest = run(write_zip(data / "dogs-vs-cats.zip", files))
    assert {"cat": 8, "dog": 8} == classes(manifest)
    assert {"not named label.number": 4} == reasons(manifest)
    assert manifest["train.zip/train/cat.0.jpg"]["split"] in SPLITS


def test_broken_inner_archive_is_an_error(data):
    """An inner archive that cannot be read is an error that names it and states what to do."""
    broken = zipped(numbered("train/cat.{}.jpg"))[:-30]
    with pytest.raises(SourceError, match=r"all\.zip/train\.zip is neither a folder nor an archive"):
        run(write_zip(data / "all.zip", {"train.zip": broken}))


@pytest.mark.parametrize(("name", "mode"), [("pets.tar", "w"), ("pets.tar.gz", "w:gz"), ("pets.tar.xz", "w:xz")])
def test_tar_archives_are_read(data, name, mode):
    """A .tar archive is read, compressed or not, with the same rows as the folder."""
    files = numbered("cat/{}.jpg", "dog/{}.jpg")
    expected = run(write_files(data / "pets", files))
    (data / name).write_bytes(packed({f"./{file}": content for file, content in files.items()}, mode))
    assert expected == run(data / name)


def test_decompression_bomb_is_refused(data):
    """An archive that unpacks to far more than its size is refused before it fills the disk."""
    (data / "bomb.tar.gz").write_bytes(packed({"cat/1.jpg": bytes(300 << 20)}, "w:gz"))
    with pytest.raises(SourceError, match=r"bomb\.tar\.gz has [\d,]+ bytes and unpacks to .* a decompression bomb"):
        run(data / "bomb.tar.gz")


def test_file_too_large_for_memory_is_set_aside(data, monkeypatch):
    """A file of more bytes than the limit is set aside without being read."""
    monkeypatch.setattr("training.source.tree.MAX_FILE", 5000)
    files = numbered("cat/{}.jpg", "dog/{}.jpg") | {"cat/large.jpg": bytes(6000)}
    row = run(write_zip(data / "pets.zip", files))["cat/large.jpg"]
    assert "unreadable: the file has 6,000 bytes; at most 5,000 are read" == row["reason"]


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg"])
def test_unsafe_names_in_inner_archives_are_refused(data, name):
    """A path that leaves its folder is refused in inner archives of every format."""
    with pytest.raises(SourceError, match=f"a.zip/b.tar holds {name!r}, a path that leaves its folder"):
        run(write_zip(data / "a.zip", {"b.tar": packed({name: b""})}))


def test_link_in_a_tar_archive_is_refused(data):
    """A symbolic link in a .tar archive is refused."""
    with tarfile.open(data / "pets.tar", "w") as archive:
        info = tarfile.TarInfo("cat/1.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(SourceError, match=r"pets\.tar holds 'cat/1\.jpg', a link"):
        run(data / "pets.tar")


def test_a_set_that_an_archive_holds_twice_counts_once(data):
    """Each photo of `train` and of a copy of it in another folder counts once."""
    files = numbered("train/cat.{}.jpg", "train/dog.{}.jpg")
    copies = {f"dogs_vs_cats/{name}": content for name, content in files.items()}
    manifest = run(write_zip(data / "pets.zip", files | copies))
    assert {"cat": 8, "dog": 8} == classes(manifest)
    assert {"copy of a photo in another folder": 16} == reasons(manifest)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPG", "", ".txt", ".png", ".dat"])
def test_content_decides_what_is_a_photo(data, suffix):
    """Photos are recognized by their content, with any suffix; other files are not read as photos."""
    files = numbered(f"cat/{{}}{suffix}", f"dog/{{}}{suffix}") | {"dog/notes.dat": b"not a photo"}
    manifest = run(write_files(data / "pets", files))
    assert {"cat": 8, "dog": 8} == classes(manifest)
    assert "not an image by its name" == manifest["dog/notes.dat"]["reason"]


def test_damaged_shard_is_an_error_while_looking_for_photos():
    """A damaged shard or archive ends the search for photos without a suffix; another unreadable file does not."""

    def read(name):
        raise SourceError("download this shard again") if name == "cat/2" else OSError("unreadable")

    assert {} == detect_layout(["cat/1", "dog/1"], read=read).labels
    with pytest.raises(SourceError, match="download this shard again"):
        detect_layout(["cat/1", "cat/2", "dog/1"], read=read)


def test_heic_photos_are_read(data):
    """HEIC photos, also without a suffix, are photos like any other. Another class has JPEG."""
    heic = (ROOT / "tests/data/cat.heic").read_bytes()
    files = numbered("dog/{}.jpg", "cat/{}.jpg") | {"cat/phone.heic": heic}
    manifest = run(write_files(data / "pets", files))
    assert ("cat", "") == (manifest["cat/phone.heic"]["label"], manifest["cat/phone.heic"]["reason"])
    assert classes(manifest)["cat"] == classes(manifest)["dog"] + 1
