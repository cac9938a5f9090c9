"""Tests of the layouts of public data sets: each gives the expected classes, or an error that states what to do."""

import csv
import io
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter, defaultdict
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.drawing import draw, encode, write_dataset
from tests.training.workspace import ROOT, write_params, write_zip
from training import dry_run, overview, prepare
from training.fetch import FetchError, place_photos
from training.harvest.data_set import ACCEPTED, CONTRIBUTIONS
from training.prepare import MANIFEST, SUMMARY
from training.source import PHOTOS, Source, SourceError, SourceList, detect_layout
from training.split import SPLITS


def pictures(*names, start=0):
    """Return a drawn photo for each file name; a name that contains `dog` or `pug` shows a dog, any other a cat."""
    kinds = ["dog" if re.search("dog|pug|beagle", name.lower()) else "cat" for name in names]
    return {name: encode(draw(kind, start + i, 32)) for i, (name, kind) in enumerate(zip(names, kinds, strict=True))}


def numbered(*patterns, count=8):
    return pictures(*(pattern.format(i) for pattern in patterns for i in range(count)))


def packed(files, mode="w"):
    """Return a .tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def parquet(photos, names=("cat", "dog"), metadata=None):
    """Return a shard as Hugging Face writes it, of pairs of bytes and label number."""
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    metadata = metadata or json.dumps({"info": {"features": features}})
    images = pa.array(
        [{"bytes": data, "path": f"{i}.jpg"} for i, (data, _) in enumerate(photos)],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table({"image": images, "label": pa.array([label for _, label in photos], pa.int64())})
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), buffer)
    return buffer.getvalue()


def write_files(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def data(project):
    """Return a project with a catalog, in which DATA is prepared by `run`."""
    (project / "data/raw").mkdir(parents=True)
    (project / "data/datasets.yaml").write_text("petimages: {file: pets.zip}\n")
    write_params(project, prepare__train_share=0.6)
    return project


def run(data="", classes="", split=""):
    """Prepare a source as `make train` does; return its manifest by ID."""
    place_photos(str(data), classes, split)
    prepare.main()
    with MANIFEST.open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def classes(manifest):
    return Counter(row["label"] for row in manifest.values() if row["split"])


def reasons(manifest):
    return Counter(row["reason"].split(":")[0] for row in manifest.values() if row["reason"])


# --- folders below class folders


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


# --- archives


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


# --- duplicates


def test_a_set_that_an_archive_holds_twice_counts_once(data):
    """Each photo of `train` and of a copy of it in another folder counts once."""
    files = numbered("train/cat.{}.jpg", "train/dog.{}.jpg")
    copies = {f"dogs_vs_cats/{name}": content for name, content in files.items()}
    manifest = run(write_zip(data / "pets.zip", files | copies))
    assert {"cat": 8, "dog": 8} == classes(manifest)
    assert {"copy of a photo in another folder": 16} == reasons(manifest)


# --- splits of the author


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
    assert "given" == json.loads(SUMMARY.read_text())["split"]


def test_given_splits_can_be_ignored(data):
    """With SPLIT=hash, the hashes of the photos decide their splits."""
    manifest = run(write_files(data / "pets", given_splits()), split="hash")
    assert any(row["split"] != name.split("/")[0] for name, row in manifest.items())
    assert "hash" == json.loads(SUMMARY.read_text())["split"]


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


# --- public formats

OXFORD = numbered("images/Abyssinian_{}.jpg", "images/pug_{}.jpg") | {"annotations/README": b"The data set"}


@pytest.mark.parametrize(("choice", "expected"), [("", {"abyssinian", "pug"}), ("species", {"cat", "dog"})])
def test_oxford_pets_as_downloaded_are_read(data, choice, expected):
    """Oxford-IIIT Pet is read from its two archives: by breed, or with CLASSES=species as cats and dogs."""
    lines = [f"Abyssinian_{i} 1 1 1" for i in range(8)] + [f"pug_{i} 2 2 1" for i in range(8)]
    annotations = {"annotations/list.txt": "\n".join(["#Image CLASS-ID SPECIES BREED ID", *lines]).encode()}
    annotations["annotations/trimaps/pug_1.png"] = encode(draw("dog", 0), "PNG")
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


def test_parquet_shards_are_read(data):
    """Shards of Hugging Face have class names in the metadata and splits in the file names."""
    shards = {}
    for start, name in ((0, "train"), (20, "validation"), (40, "test")):
        photos = [(encode(draw(label, start + i, 32)), n) for n, label in enumerate(("cat", "dog")) for i in range(6)]
        shards[f"data/{name}-00000-of-00001.parquet"] = parquet(photos)
    manifest = run(write_files(data / "hub", shards | {"README.md": b"# Pets"}))
    assert {"cat": 18, "dog": 18} == classes(manifest)
    assert dict.fromkeys(SPLITS, 12) == Counter(row["split"] for row in manifest.values() if row["split"])
    assert "test" == manifest["data/test-00000-of-00001.parquet/dog/00000007.jpg"]["split"]


def test_single_shard_is_read(data):
    """One shard is a source; photos without label are set aside."""
    photos = [(encode(draw(label, i, 32)), n) for n, label in enumerate(("cat", "dog")) for i in range(8)]
    (data / "pets.parquet").write_bytes(parquet([*photos, (encode(draw("cat", 50, 32)), -1)]))
    manifest = run(data / "pets.parquet")
    assert {"cat": 8, "dog": 8} == classes(manifest)
    assert {"hidden file": 1} == reasons(manifest)


def shard_rows():
    return [(encode(draw(label, i, 32)), n) for n, label in enumerate(("cat", "dog")) for i in range(8)]


def test_rows_without_usable_photo_are_set_aside(data, monkeypatch):
    """Rows whose photo is null, empty, no image or too large for memory are set aside; the others are used."""
    monkeypatch.setattr("training.source.tree.MAX_FILE", 50_000)
    rows = [*shard_rows(), (None, 0), (b"", 1), (b"text", 1), (b"\xff\xd8\xff" + bytes(60_000), 0)]
    (data / "pets.parquet").write_bytes(parquet(rows))
    manifest = run(data / "pets.parquet")
    assert {"cat": 8, "dog": 8} == classes(manifest)
    assert {"empty file": 2, "unsupported_image": 1, "unreadable": 1} == Counter(
        row["reason"].split(":")[0] for row in manifest.values() if row["reason"]
    )


@pytest.mark.parametrize("label", [2, -2])
def test_label_without_a_name_is_an_error(data, label):
    """A label outside the class names is an error that names the row, also a negative one."""
    (data / "pets.parquet").write_bytes(parquet([*shard_rows(), (b"photo", label)]))
    with pytest.raises(SourceError, match=rf"pets\.parquet, row 16 has the label {label}; expected 0 to 1, or -1"):
        run(data / "pets.parquet")


@pytest.mark.parametrize(
    "damage",
    [
        lambda shard: shard[: len(shard) // 2],
        lambda shard: shard[:4] + bytes(2000) + shard[2004:],
        lambda shard: shard[:-200] + bytes(192) + shard[-8:],
    ],
    ids=["truncated", "pages", "footer"],
)
def test_damaged_shard_is_an_error(data, damage):
    """A shard that was damaged while it was copied is an error that names it, and what to do."""
    (data / "pets.parquet").write_bytes(damage(parquet(shard_rows())))
    with pytest.raises(SourceError, match=r"pets\.parquet cannot be read as Parquet \(.*\); download this shard again"):
        run(data / "pets.parquet")


@pytest.mark.parametrize("metadata", ["{", "[]", '{"info": {"features": []}}'])
def test_damaged_class_names_are_an_error(data, metadata):
    """Metadata that are no JSON of Hugging Face are an error that shows them."""
    (data / "pets.parquet").write_bytes(parquet(shard_rows(), metadata=metadata))
    with pytest.raises(SourceError, match=r"pets\.parquet has damaged metadata"):
        run(data / "pets.parquet")


def test_heic_photos_are_read(data):
    """HEIC photos, also without a suffix, are photos like any other. Another class has JPEG."""
    heic = (ROOT / "tests/data/cat.heic").read_bytes()
    files = numbered("dog/{}.jpg", "cat/{}.jpg") | {"cat/phone.heic": heic}
    manifest = run(write_files(data / "pets", files))
    assert ("cat", "") == (manifest["cat/phone.heic"]["label"], manifest["cat/phone.heic"]["reason"])
    assert classes(manifest)["cat"] == classes(manifest)["dog"] + 1


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


def test_shard_without_photos_is_an_error(data):
    """For a shard without image column, the error lists its columns."""
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), data / "text.parquet")
    with pytest.raises(SourceError, match=r"text\.parquet has the columns text, label; expected an image column"):
        run(data / "text.parquet")


def test_sample_submission_is_no_table_of_labels(data):
    """The made-up labels of a sample submission label no photo, even if they list all photos of the test folder."""
    files = numbered("train/cat/{}.jpg", "train/dog/{}.jpg") | pictures("test/91.jpg", "test/92.jpg", start=60)
    files["sample_submission.csv"] = b"id,label\n91,cat\n92,dog\n"
    manifest = run(write_files(data / "pets", files))
    assert {"cat": 8, "dog": 8} == classes(manifest)
    assert "in a split folder without a class" == manifest["test/91.jpg"]["reason"]


# --- content decides


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPG", "", ".txt", ".png", ".dat"])
def test_content_decides_what_is_a_photo(data, suffix):
    """Photos are recognized by their content, with any suffix; other files are not read as photos."""
    files = numbered(f"cat/{{}}{suffix}", f"dog/{{}}{suffix}") | {"dog/notes.dat": b"not a photo"}
    manifest = run(write_files(data / "pets", files))
    assert {"cat": 8, "dog": 8} == classes(manifest)
    assert "not an image by its name" == manifest["dog/notes.dat"]["reason"]


def test_avif_is_read(data):
    """AVIF photos are read."""
    files = {f"{label}/{i}.avif": encode(draw(label, i, 32), "AVIF") for label in ("cat", "dog") for i in range(6)}
    assert {"cat": 6, "dog": 6} == classes(run(write_files(data / "pets", files)))


# --- class names


def test_aliases_and_case_variants_are_merged_and_reported(data):
    """`cats` counts as `cat` (prepare.aliases), `Cat` and `cat` are one class, and both are reported."""
    layout = detect_layout(["Cat/1.jpg", "cat/2.jpg", "dogs/1.jpg"])
    assert ("folders Cat, cat are one class, 'cat'",) == layout.notes
    manifest = run(write_files(data / "pets", numbered("Cats/{}.jpg", "dogs/{}.jpg")))
    assert {"cat": 8, "dog": 8} == classes(manifest)
    notes = json.loads(SUMMARY.read_text())["notes"]
    assert [f"class '{name}s' counts as '{name}' (prepare.aliases)" for name in ("cat", "dog")] == notes


# --- few photos


@pytest.mark.parametrize("count", [3, 7, 20, 50])
def test_every_class_has_photos_in_each_split(data, count):
    """Five classes of few photos have photos in each split."""
    photos = write_dataset(data / "pets", {"cat": count, "dog": count, "rabbit": count}, size=32)
    write_params(data, prepare__train_share=0.8)
    manifest = run(photos)
    found = Counter((row["label"], row["split"]) for row in manifest.values())
    assert all(found[label, split] for label in ("cat", "dog", "rabbit") for split in SPLITS)


# --- the true cause


def test_link_to_a_class_folder_is_an_error(data):
    """A link to a folder is an error that names the link and its target."""
    write_dataset(data / "elsewhere", {"cat": 5}, size=32)
    photos = write_dataset(data / "pets", {"dog": 5}, size=32)
    (photos / "cat").symlink_to(data / "elsewhere/cat")
    with pytest.raises(SourceError, match=r"pets/cat is a link to the folder .*elsewhere/cat; links to folders"):
        run(photos)


def test_hidden_files_are_the_cause(data):
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


def test_folder_without_rights_is_an_error():
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


# --- several sources


@pytest.mark.parametrize("quoted", [True, False])
def test_several_sources_are_merged(data, quoted):
    """Several sources, with spaces in their paths, are one set; duplicates across sources count once."""
    first = write_files(data / "my photos", numbered("cat/{}.jpg", "dog/{}.jpg"))
    more = numbered("train/cat.{}.jpg", "train/dog.{}.jpg", count=12)
    second = write_zip(data / "more photos.zip", more)
    names = [f"'{path}'" if quoted else str(path) for path in (first, second)]
    manifest = run(" ".join(names))
    assert "class folders + kaggle" == json.loads(SUMMARY.read_text())["layout"]
    assert {str(first), str(second)} == set(SourceList.read(PHOTOS).sources)
    same = {row["sha256"] for name, row in manifest.items() if name.startswith("my photos/")}
    assert len(manifest) - len({row["sha256"] for row in manifest.values()}) == reasons(manifest).total()
    assert same & {row["sha256"] for name, row in manifest.items() if name.startswith("more photos.zip/")}


def test_contributions_add_no_class(data):
    """Contributions of a class that no other source has are set aside, so that all limits still apply."""
    photos = write_files(data / "pets", numbered("cat/{}.jpg", "dog/{}.jpg"))
    contributed = CONTRIBUTIONS / ACCEPTED
    write_files(contributed, pictures("cat/new.jpg", "rabbit/1.jpg", "rabbit/2.jpg", start=50))
    manifest = run(f"{photos} {contributed}")
    assert {"cat": 9, "dog": 8} == classes(manifest)
    assert {"contributed for a class that no other source has": 2} == reasons(manifest)


def test_classes_may_be_numbers_beside_contributions(data):
    """Folders called 1 and 2 are classes if the only other source is the contributions to them."""
    photos = write_files(data / "digits", numbered("1/cat{}.jpg", "2/dog{}.jpg"))
    write_files(CONTRIBUTIONS / ACCEPTED, pictures("1/new_cat.jpg", start=50))
    assert {"1": 9, "2": 8} == classes(run(f"{photos} {CONTRIBUTIONS / ACCEPTED}"))


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
    with pytest.raises(FetchError, match=r"'nowhere' is not a file, a folder or a name|No closing quotation"):
        place_photos(sources, "", "")


def test_changed_source_changes_the_list(data):
    """A new file in one of several sources changes the list, so that DVC prepares the photos again."""
    photos = write_dataset(data / "a", {"cat": 8, "dog": 8}, size=32)
    run(f"{photos}", classes="bottom")
    before = PHOTOS.read_text()
    (photos / "cat/new.jpg").write_bytes(encode(draw("cat", 99, 32)))
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


# --- what to expect


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
    assert "warning: 'cat' has 60 photos and 'dog' 5. Always answering 'cat' would be right on 92.3%" in printed
