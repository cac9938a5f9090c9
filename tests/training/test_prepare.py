"""Test the manifest: every file has a split or a reason."""

import csv
import hashlib
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tests.support import ROOT
from tests.support.drawing import draw, encode_image, write_dataset
from tests.training.workspace import link_photos, rows_by_id, write_params, write_zip
from training import prepare
from training.figures import read_figures
from training.manifest import MANIFEST
from training.reviewed import read_reviewed
from training.source import SourceError
from training.split import SPLITS

CAT = encode_image(draw("cat", 0))
BROKEN = {
    "pets/cat/empty.jpg": (b"", "empty file"),
    "pets/cat/truncated.jpg": (CAT[: len(CAT) // 2], "damaged_image"),
    "pets/cat/text.jpg": (b"404 Not Found", "unsupported_image"),
    "pets/cat/bomb.png": (encode_image(Image.new("1", (8000, 8000)), "PNG"), "too_large"),
    "pets/dog/Thumbs.db": (b"\xd0\xcf\x11\xe0", "not an image by its name"),
    "readme.txt": (b"hello", "outside the class folders"),
    "__MACOSX/pets/cat/._1.jpg": (b"\x00\x05\x16\x07", "hidden file"),
}


def prepared(project, photos):
    """Run the stage; return the manifest by ID."""
    link_photos(project, photos)
    write_params(project, prepare__train_share=0.6)  # fills all three splits with few photos
    prepare.main()
    return rows_by_id()


def drawings(label, count):
    return {f"pets/{label}/{seed}.jpg": encode_image(draw(label, seed)) for seed in range(count)}


# --- files that are set aside


def test_broken_files_are_set_aside(project):
    """Each file that is not a readable photo has a reason and no split; each photo has a split and no reason."""
    photos = drawings("cat", 25) | drawings("dog", 25)
    manifest = prepared(project, write_zip(project / "pets.zip", photos | {k: data for k, (data, _) in BROKEN.items()}))
    reasons = {name: row["reason"].split(":")[0] for name, row in manifest.items() if row["reason"]}
    assert sorted(photos | BROKEN) == list(manifest)
    assert {name: reason for name, (_, reason) in BROKEN.items()} == reasons
    assert set(photos) == {name for name, row in manifest.items() if row["split"] in SPLITS}
    summary = read_figures("prepare")
    assert Counter(reason for _, reason in BROKEN.values()) == summary["set_aside"]
    assert {"cat": 25, "dog": 25} == summary["classes"]
    assert Counter(row["split"] for row in manifest.values() if row["split"]) == summary["splits"]
    assert len(photos) == summary["photos"]


def test_manifest_has_path_hash_and_label(project, photos):
    """A row has the path in the source, the SHA-256 of the bytes and the label."""
    row = prepared(project, photos)["dog/7.jpg"]
    assert hashlib.sha256((photos / "dog/7.jpg").read_bytes()).hexdigest() == row["sha256"] == row["group"]
    assert "dog" == row["label"]


def test_archive_and_folder_give_the_same_manifest(project, photos):
    """The same photos as an archive give the same manifest, byte for byte."""
    prepared(project, photos)
    expected = MANIFEST.read_bytes()
    files = sorted(photos.rglob("*.jpg"), reverse=True)
    archive = {path.relative_to(photos).as_posix(): path.read_bytes() for path in files}
    prepared(project, write_zip(project / "photos.zip", archive))
    assert expected == MANIFEST.read_bytes()


def test_dangling_link_is_set_aside(project):
    """A dangling link in a folder of photos is set aside."""
    photos = write_dataset(project / "pets", {"cat": 25, "dog": 25})
    (photos / "cat/gone.jpg").symlink_to("nowhere.jpg")
    assert prepared(project, photos)["cat/gone.jpg"]["reason"].startswith("unreadable: ")


# --- reviewed photos

REVIEWED_CSV = Path("data/set-aside.csv")


def review(**reasons):
    """Write a list of reviewed photos, by the SHA-256 of their bytes."""
    REVIEWED_CSV.parent.mkdir(exist_ok=True)
    with REVIEWED_CSV.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("sha256", "id", "reason"))
        writer.writerows((sha256, "another name", reason) for sha256, reason in reasons.items())


def test_reviewed_photos_are_set_aside(project, photos):
    """Reviewed photos leave training and validation; all other photos keep their split."""
    before = prepared(project, photos)
    reviewed = {split: next(row for row in before.values() if row["split"] == split) for split in SPLITS}
    review(**{row["sha256"]: f"a drawing in {split}" for split, row in reviewed.items()})
    after = prepared(project, photos)
    changed = {name: (row["split"], row["reason"]) for name, row in after.items() if row != before[name]}
    expected = {reviewed[split]["id"]: ("", f"reviewed: a drawing in {split}") for split in ("train", "val")}
    assert expected == changed
    assert {"reviewed": 2} == read_figures("prepare")["set_aside"]


def test_relabeled_duplicates_agree(project):
    """Copies in two class folders are set aside until a review names their class; then one of them remains."""
    photos = drawings("cat", 25) | drawings("dog", 25)
    archive = write_zip(project / "pets.zip", photos | {"pets/dog/cat.jpg": CAT})
    before = prepared(project, archive)
    copies = ("pets/cat/0.jpg", "pets/dog/cat.jpg")
    assert ["duplicates with different labels"] * 2 == [before[name]["reason"] for name in copies]
    REVIEWED_CSV.parent.mkdir(exist_ok=True)
    REVIEWED_CSV.write_text(f"sha256,id,reason,label\n{hashlib.sha256(CAT).hexdigest()},cat.jpg,a cat,cat\n")
    after = prepared(project, archive)
    assert [("cat", ""), ("cat", "copy of a photo in another folder")] == [
        (after[name]["label"], after[name]["reason"]) for name in copies
    ]


def test_reviewed_photos_of_another_set_change_nothing(project, photos):
    """Listed photos that the set does not have change nothing."""
    before = prepared(project, photos)
    review(**{"0" * 64: "a drawing"})
    assert before == prepared(project, photos)


def test_committed_review_is_valid():
    """The list of this repository has each photo once, by its hash, with a reason."""
    with (ROOT / REVIEWED_CSV).open(newline="") as file:
        hashes = [row["sha256"] for row in csv.DictReader(file)]
    reviewed = read_reviewed(ROOT / REVIEWED_CSV)
    assert sorted(reviewed) == sorted(hashes)
    assert all(review.reason for review in reviewed.values())


# --- unusable photos


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"found 0 classes \(no photos\); expected two or more"),
        (drawings("cat", 5), r"found 1 class \(cat\); expected two or more"),
        (drawings("cat", 5) | drawings("dog", 5) | {"pets/rabbit/": b""}, "class folder 'pets/rabbit' holds no photo"),
        (drawings("cat", 25) | {"pets/dog/1.jpg": b"no", "pets/dog/2.jpg": b""}, "class 'dog' is empty: not one of"),
        ({"pets/cat/1.jpg": b"", "pets/dog/1.jpg": b""}, "class 'cat' is empty: not one of"),
        (drawings("cat", 25) | drawings("dog", 1), "class 'dog' has 1 photos, none in the '(train|val)' split"),
    ],
    ids=["nothing", "one class", "an empty class folder", "a broken class", "all broken", "an empty split"],
)
def test_unusable_photos_stop_the_stage(project, files, message):
    """Unusable photos stop the stage with an error that names archive and class, and write nothing."""
    with pytest.raises(SourceError, match=message) as error:
        prepared(project, write_zip(project / "pets.zip", files))
    assert "data/raw/photos" in str(error.value)
    assert not MANIFEST.exists()
