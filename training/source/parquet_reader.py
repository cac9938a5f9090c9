"""Convert a Parquet shard of Hugging Face's `datasets` to an archive with one folder per class."""

import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training.source.source_reader import SUFFIXES, SourceError
from training.source.unpacked import check_ratio

IMAGES = ("image", "img", "photo", "pixel_values", "jpg")
LABELS = ("label", "labels", "class", "category", "target", "fine_label")
UNLABELED = ".without-label"  # hidden, so that these photos are set aside


def write_zip(shard: Path, target: Path, name: str) -> None:
    """Write CLASS/ROW.SUFFIX of each photo to an uncompressed archive. `name` is the shard's name for errors."""
    try:
        with pq.ParquetFile(shard) as file, zipfile.ZipFile(target, "w") as archive:
            write_photos(file, archive, shard.stat().st_size, name)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{name} cannot be read as Parquet ({reason}); download this shard again") from None


def write_photos(file: pq.ParquetFile, archive: zipfile.ZipFile, packed: int, name: str) -> None:
    """Write all rows. A photo or label that is null is set aside later.

    Raise `SourceError` if the columns, the metadata or a label are invalid, if no row has a photo, or for a
    decompression bomb.
    """
    groups = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
    check_ratio(sum(groups), packed, name)
    image, label = find_columns(file.schema_arrow, name)
    classes = read_class_names(file.schema_arrow, label, name)
    row = photos = 0
    for batch in file.iter_batches(batch_size=32, columns=[image, label]):
        for photo, value in zip(batch[image].to_pylist(), batch[label].to_pylist(), strict=True):
            data, suffix = _photo(photo)
            archive.writestr(f"{_folder(value, classes, f'{name}, row {row}')}/{row:08d}{suffix}", data)
            row += 1
            photos += bool(data)
    if row and not photos:
        raise SourceError(f"{name} has {row} rows and no photo, only paths or nulls; expected the photos in the shard")


def find_columns(schema: pa.Schema, name: str) -> tuple[str, str]:
    """Return the columns of the photo and of the label. Raise `SourceError` if one is missing or not unique."""
    images = [field.name for field in schema if _is_image(field.type)]
    labels = [field.name for field in schema if pa.types.is_integer(field.type) or pa.types.is_string(field.type)]
    image = next((c for c in IMAGES if c in images), images[0] if len(images) == 1 else None)
    label = next((c for c in LABELS if c in labels), labels[0] if len(labels) == 1 else None)
    if image is None or label is None:
        raise SourceError(
            f"{name} has the columns {', '.join(schema.names)}; expected an image column (a struct with bytes, or "
            f"binary) and a column of labels called {', '.join(LABELS[:4])}"
        )
    return image, label


def read_class_names(schema: pa.Schema, label: str, name: str) -> list[str]:
    """Return the class names in the metadata that `datasets` writes, in the order of the label numbers.

    The list is empty without such metadata.
    Raise `SourceError` if the metadata is damaged.
    """
    text = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        names = json.loads(text).get("info", {}).get("features", {}).get(label, {}).get("names", [])
    except (AttributeError, ValueError) as error:
        raise SourceError(
            f"{name} has damaged metadata `huggingface` ({error}): {text[:80]!r}; expected JSON"
        ) from None
    return list(map(str, names))


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _photo(value: Any) -> tuple[bytes, str]:
    if isinstance(value, bytes):
        return value, ""
    data, path = (value or {}).get("bytes"), (value or {}).get("path") or ""
    suffix = PurePosixPath(path).suffix
    return data or b"", suffix if suffix.lower() in SUFFIXES else ""


def _folder(value: Any, classes: list[str], place: str) -> str:
    """Return the class of a label. Raise `SourceError` for a number without a name if the classes have names."""
    if value in (None, -1, ""):
        return UNLABELED
    if not (classes and isinstance(value, int)):
        return str(value).replace("/", "-")
    if not 0 <= value < len(classes):
        raise SourceError(f"{place} has the label {value}; expected 0 to {len(classes) - 1}, or -1 without a label")
    return classes[value].replace("/", "-")
