"""Test Parquet shards as Hugging Face writes them, and errors that name a damaged one."""

import io
import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.drawing import draw, encode_image
from tests.training.data_sets.drawn_sources import classes, reasons, run, write_files
from training.source import SourceError
from training.split import SPLITS


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


def test_parquet_shards_are_read(data):
    """Shards of Hugging Face have class names in the metadata and splits in the file names."""
    shards = {}
    for start, name in ((0, "train"), (20, "validation"), (40, "test")):
        photos = [
            (encode_image(draw(label, start + i, 32)), n) for n, label in enumerate(("cat", "dog")) for i in range(6)
        ]
        shards[f"data/{name}-00000-of-00001.parquet"] = parquet(photos)
    manifest = run(write_files(data / "hub", shards | {"README.md": b"# Pets"}))
    assert {"cat": 18, "dog": 18} == classes(manifest)
    assert dict.fromkeys(SPLITS, 12) == Counter(row["split"] for row in manifest.values() if row["split"])
    assert "test" == manifest["data/test-00000-of-00001.parquet/dog/00000007.jpg"]["split"]


def test_single_shard_is_read(data):
    """One shard is a source; photos without label are set aside."""
    (data / "pets.parquet").write_bytes(parquet([*shard_rows(), (encode_image(draw("cat", 50, 32)), -1)]))
    manifest = run(data / "pets.parquet")
    assert {"cat": 8, "dog": 8} == classes(manifest)
    assert {"hidden file": 1} == reasons(manifest)


def shard_rows():
    return [(encode_image(draw(label, i, 32)), n) for n, label in enumerate(("cat", "dog")) for i in range(8)]


def test_rows_without_usable_photo_are_set_aside(data, monkeypatch):
    """Rows whose photo is null, empty, no image or too large for memory are set aside; the others are used."""
    monkeypatch.setattr("training.source.tree.MAX_FILE", 50_000)
    rows = [*shard_rows(), (None, 0), (b"", 1), (b"text", 1), (b"\xff\xd8\xff" + bytes(60_000), 0)]
    (data / "pets.parquet").write_bytes(parquet(rows))
    manifest = run(data / "pets.parquet")
    assert {"cat": 8, "dog": 8} == classes(manifest)
    assert {"empty file": 2, "unsupported_image": 1, "unreadable": 1} == reasons(manifest)


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


def test_shard_without_photos_is_an_error(data):
    """For a shard without image column, the error lists its columns."""
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), data / "text.parquet")
    with pytest.raises(SourceError, match=r"text\.parquet has the columns text, label; expected an image column"):
        run(data / "text.parquet")
