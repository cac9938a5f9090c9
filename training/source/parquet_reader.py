"""Convert a Parquet shard of Hugging Face's `datasets` to an archive with one folder per class."""

import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training.source.source_reader import SourceError
from training.source.unpacked import check_ratio

IMAGES = ("image", "img", "photo", "pixel_values", "jpg")
LABELS = ("label", "labels", "class", "category", "target", "fine_label")
UNLABELED = ".without-label"  # hidden, so that these photos are set aside


def write_zip(shard: Path, target: Path, name: str) -> None:
    """Write CLASS/ROW.SUFFIX of each photo to an uncompressed archive. `name` is the shard's name for errors."""
    try:
        file = pq.ParquetFile(shard)
    except pa.ArrowInvalid as error:
        raise SourceError(f"{name} is not a valid Parquet file: {error}") from None
    groups = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
    check_ratio(sum(groups), shard.stat().st_size, name)
    image, label = find_columns(file.schema_arrow, name)
    classes = class_names(file.schema_arrow, label)
    row = 0
    with zipfile.ZipFile(target, "w") as archive:
        for batch in file.iter_batches(batch_size=32, columns=[image, label]):
            for photo, value in zip(batch[image].to_pylist(), batch[label].to_pylist(), strict=True):
                data, suffix = _photo(photo, name)
                archive.writestr(f"{_folder(value, classes)}/{row:08d}{suffix}", data)
                row += 1


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


def class_names(schema: pa.Schema, label: str) -> list[str]:
    """Return the class names in the metadata that `datasets` writes, in the order of the label numbers."""
    metadata: dict[str, Any] = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = metadata.get("info", {}).get("features", {}).get(label, {})
    return list(feature.get("names", []))


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _photo(value: Any, name: str) -> tuple[bytes, str]:
    if isinstance(value, bytes):
        return value, ""
    data, path = (value or {}).get("bytes"), (value or {}).get("path") or ""
    if data is None and path:
        raise SourceError(f"{name} holds the path {path!r} instead of a photo; expected the photos in the shard")
    return data or b"", PurePosixPath(path).suffix


def _folder(value: Any, classes: list[str]) -> str:
    if value in (None, -1, ""):
        return UNLABELED
    label = classes[value] if isinstance(value, int) and value < len(classes) else str(value)
    return label.replace("/", "-")
