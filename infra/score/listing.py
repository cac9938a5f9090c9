"""List the keys of photos: the objects below a prefix, or in an S3 Inventory. Only one page or file is in memory."""

import csv
import gzip
import io
import json
import re
import zlib
from argparse import ArgumentTypeError
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import unquote_plus

import pyarrow.orc
import pyarrow.parquet

MANIFEST = "manifest.json"  # S3's name for the manifest of every inventory
REQUIRED_FIELDS = {"sourceBucket", "destinationBucket", "fileSchema", "files"}
# What csv, gzip, zlib and pyarrow raise for corrupt files, and a row without an expected column.
CORRUPT_FILE = (ValueError, KeyError, OSError, EOFError, csv.Error, zlib.error)
# The values for buckets without versions, whose inventories lack these columns.
VERSION_DEFAULTS = {"islatest": True, "isdeletemarker": False}
Row = Mapping[str, Any]


class NotAnInventory(Exception):
    """The manifest or a file of an inventory cannot be read; the message names it."""


@dataclass(frozen=True)
class S3Path:
    """s3://BUCKET/KEY, where KEY may be a prefix."""

    bucket: str
    key: str

    def folder(self, name: str) -> "S3Path":
        return S3Path(self.bucket, f"{self.key}{name}/")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def parse_s3_path(text: str) -> S3Path:
    """Return the path that the text names. Raise `ArgumentTypeError` if it is not an S3 path."""
    match = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]+)/?(.*)", text, re.DOTALL)
    if not match:
        raise ArgumentTypeError(f"{text!r}: expected s3://BUCKET/PREFIX")
    return S3Path(match[1], match[2])


def list_photos(s3: Any, source: S3Path, *, results: S3Path, skip: int, last_key: str) -> tuple[str, Iterator[str]]:
    """Return the photos' bucket, and the keys after the first `skip` photos, which end with `last_key`.

    The keys are without folders and results. Raise `NotAnInventory`, also while the keys are read.
    """
    if is_inventory := source.key.rpartition("/")[2] == MANIFEST:
        manifest = _read_manifest(s3, source)
        bucket, listed = str(manifest["sourceBucket"]), _list_inventory(s3, manifest)
    else:
        paginator = s3.get_paginator("list_objects_v2")
        pages = paginator.paginate(Bucket=source.bucket, Prefix=source.key, StartAfter=last_key)
        bucket, listed = source.bucket, (item["Key"] for page in pages for item in page.get("Contents", ()))
    excluded = (results.key,) if bucket == results.bucket else ()
    keys = (key for key in listed if not key.endswith("/") and not key.startswith(excluded))
    return bucket, islice(keys, skip if is_inventory else 0, None)


def _read_manifest(s3: Any, source: S3Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.load(s3.get_object(Bucket=source.bucket, Key=source.key)["Body"])
        is_valid = manifest["fileFormat"] in READERS and manifest.keys() >= REQUIRED_FIELDS
    except (ValueError, TypeError, KeyError):
        is_valid = False
    if not is_valid:
        raise NotAnInventory(f"{source}: expected the manifest of an S3 Inventory as {', '.join(READERS)}")
    return manifest


def _list_inventory(s3: Any, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of all files of an inventory.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
    """
    file_format, columns = manifest["fileFormat"], [_normalize(name) for name in manifest["fileSchema"].split(",")]
    for file in manifest["files"]:
        path = S3Path(manifest["destinationBucket"].rpartition(":")[2], file["key"])
        body = s3.get_object(Bucket=path.bucket, Key=path.key)["Body"]
        try:
            yield from (row["key"] for row in READERS[file_format](body, columns) if _is_current(row))
        except CORRUPT_FILE as error:
            expected = f"a file of an S3 Inventory as {file_format}, with {manifest['fileSchema']}"
            raise NotAnInventory(f"{path}: expected {expected}") from error


def _is_current(row: Row) -> bool:
    """Return whether the row is an object's latest version and not a delete marker."""
    is_latest, is_deleted = (str(row.get(name, default)).lower() for name, default in VERSION_DEFAULTS.items())
    return (is_latest, is_deleted) == ("true", "false")


def _normalize(column: str) -> str:
    """Return one spelling of a column: CSV has `IsLatest`, Parquet and ORC have `is_latest`."""
    return column.strip().lower().replace("_", "")


def _read_csv(body: Any, columns: list[str]) -> Iterator[Row]:
    with gzip.open(body, "rt", encoding="utf-8", newline="") as lines:
        for values in csv.reader(lines):
            row = dict(zip(columns, values, strict=True))
            yield row | {"key": unquote_plus(row["key"])}  # only CSV has encoded keys


def _read_parquet(body: Any, _columns: list[str]) -> Iterator[Row]:
    return _rows(pyarrow.parquet.ParquetFile(io.BytesIO(body.read())).iter_batches())


def _read_orc(body: Any, _columns: list[str]) -> Iterator[Row]:
    file = pyarrow.orc.ORCFile(io.BytesIO(body.read()))
    return _rows(file.read_stripe(number) for number in range(file.nstripes))


def _rows(batches: Iterable[Any]) -> Iterator[Row]:
    for batch in batches:
        for row in batch.to_pylist():
            yield {_normalize(name): value for name, value in row.items()}


READERS = {"CSV": _read_csv, "Parquet": _read_parquet, "ORC": _read_orc}
