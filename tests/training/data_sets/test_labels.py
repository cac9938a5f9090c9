"""Test labels that file names, annotations and tables give, as in public data sets."""

import json
import re
import sys
import zipfile
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.drawing import draw, encode_image
from tests.training.data_sets.drawn_sources import classes, numbered, packed, pictures, run, write_files
from tests.training.workspace import write_zip
from training import dry_run
from training.source import detect_layout

OXFORD = numbered("images/Abyssinian_{}.jpg", "images/pug_{}.jpg") | {"annotations/README": b"The data set"}


@pytest.mark.parametrize(("choice", "expected"), [("", {"abyssinian", "pug"}), ("species", {"cat", "dog"})])
def test_oxford_pets_as_downloaded_are_read(data, choice, expected):
    """Oxford-IIIT Pet is read from its two archives: by breed, or with CLASSES=species as cats and dogs."""
    lines = [f"Abyssinian_{i} 1 1 1" for i in range(8)] + [f"pug_{i} 2 2 1" for i in range(8)]
    annotations = {"annotations/list.txt": "\n".join(["#Image CLASS-ID SPECIES BREED ID", *lines]).encode()}
    annotations["annotations/trimaps/pug_1.png"] = encode_image(draw("dog", 0), "PNG")
    folder = write_files(
        data / "oxford", {"images.tar.gz": packed(OXFORD, "w:gz"), "annotations.tar.gz": packed(annotations, "w:gz")}
    )
    assert dict.fromkeys(expected, 8) == classes(run(folder, choice))


def test_oxford_pets_without_annotations_are_read(data):
    """Without annotations, the file names have the breeds."""
    assert {"abyssinian": 8, "pug": 8} == classes(run(write_files(data / "oxford", OXFORD)))


def test_names_of_a_camera_are_no_classes():
    """Names such as IMG_1 and DSC_1 in one folder are not read as classes."""
    assert {"pets"} == set(
        detect_layout([f"pets/{k}_{i}.jpg" for k in ("IMG", "DSC") for i in range(5)]).labels.values()
    )


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("labels.csv", "id,breed\n{}"),
        ("train/metadata.csv", "file_name;label\n{}"),
        ("all.tsv", "path\tclass\n{}"),
    ],
)
def test_table_of_labels_is_read(data, name, table):
    """A table names the label of each photo by its path, name or stem; photos without a row are set aside."""
    files = numbered("train/a{}.jpg", "train/b{}.jpg")
    separator = re.search(r"\w([,;\t])\w", table)[1]
    stem = {"id": lambda n: Path(n).stem, "file_name": lambda n: Path(n).name, "path": str}[table.split(separator)[0]]
    lines = [f"{stem(n)}{separator}{'Cat' if '/a' in n else 'Dog'}" for n in files]
    files |= {name: table.format("\n".join(lines)).encode()} | pictures("train/other.jpg", start=40)
    manifest = run(write_files(data / "pets", files))
    assert {"cat": 8, "dog": 8} == classes(manifest)
    assert f"not in {name}" == manifest["train/other.jpg"]["reason"]


def test_metadata_of_an_image_folder_is_read(data):
    """Hugging Face's metadata.jsonl is a table of labels."""
    files = numbered("a{}.jpg", "b{}.jpg")
    lines = [json.dumps({"file_name": name, "label": "cat" if "a" in name else "dog"}) for name in files]
    files["metadata.jsonl"] = "\n".join(lines).encode()
    assert {"cat": 8, "dog": 8} == classes(run(write_files(data / "pets", files)))


@pytest.mark.photos
def test_breeds_of_the_oxford_pets_are_classes(data, shared, monkeypatch, capsys):
    """37 breeds of real photos get photos in every split, and a dry run lists them with what to expect."""
    monkeypatch.setattr(sys, "argv", ["dry_run", "--data", "breeds.zip"])
    monkeypatch.setattr(dry_run, "estimate", lambda *_: "not measured here")
    chosen = defaultdict(dict)
    with zipfile.ZipFile(shared / "data/oxford-pets-trainval.zip") as archive:
        for name in archive.namelist():
            breed = Path(name).stem.rpartition("_")[0]
            if len(chosen[breed]) < 12:
                chosen[breed][f"images/{Path(name).name}"] = archive.read(name)
    write_zip(data / "breeds.zip", {name: photo for photos in chosen.values() for name, photo in photos.items()})
    dry_run.main()
    printed = capsys.readouterr().out
    assert "layout: file names; 444 photos of 37 classes" in printed
    rows = [line.split() for line in printed.splitlines() if line.startswith(tuple(b.lower() for b in chosen if b))]
    assert 37 == len(rows)
    assert all(int(count) > 0 for row in rows for count in row[-4:-1])
    assert "warning: fewer than 100 photos of" in printed


# A table that labels over 90 % of the photos would count in any case.
TEST_IMAGES = [f"test_images/{number}.jpg" for number in range(91, 97)]


def test_table_of_training_photos_is_read(data):
    """A table labels the photos of the training folder; those of the test folder, which it lacks, are set aside."""
    files = numbered("train_images/a{}.jpg", "train_images/b{}.jpg") | pictures(*TEST_IMAGES, start=60)
    labels = [f"{Path(name).stem},{Path(name).stem[0]}" for name in files if name.startswith("train")]
    files["train.csv"] = "\n".join(["id,label", *labels]).encode()
    manifest = run(write_files(data / "pets", files))
    assert {"a": 8, "b": 8} == classes(manifest)
    assert all(manifest[name]["reason"] for name in TEST_IMAGES)


def test_sample_submission_is_no_table_of_labels(data):
    """The made-up labels of a sample submission label no photo, even if they list all photos of the test folder."""
    files = numbered("train/cat/{}.jpg", "train/dog/{}.jpg") | pictures("test/91.jpg", "test/92.jpg", start=60)
    files["sample_submission.csv"] = b"id,label\n91,cat\n92,dog\n"
    manifest = run(write_files(data / "pets", files))
    assert {"cat": 8, "dog": 8} == classes(manifest)
    assert "in a split folder without a class" == manifest["test/91.jpg"]["reason"]


@pytest.mark.parametrize("position", ["first", "last"])
@pytest.mark.parametrize("missing", [{}, {"label": None}], ids=["missing", "null"])
def test_photo_without_a_label_in_json_lines_is_set_aside(data, missing, position):
    """A line of JSON without a label, or with null, names no class, even if it is the first line."""
    files = numbered("a{}.jpg", "b{}.jpg")
    lines = [{"file_name": name, "label": "cat" if "a" in name else "dog"} for name in files]
    lines.insert(0 if position == "first" else len(lines), {"file_name": "other.jpg", **missing})
    files |= pictures("other.jpg", start=40) | {"metadata.jsonl": "\n".join(map(json.dumps, lines)).encode()}
    manifest = run(write_files(data / "pets", files))
    assert {"cat": 8, "dog": 8} == classes(manifest)
    assert "not in metadata.jsonl" == manifest["other.jpg"]["reason"]
