"""Which photos there are: those below a prefix, or those of an S3 Inventory. They never lie in memory together."""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import unquote_plus

import pyarrow.orc
import pyarrow.parquet

MANIFEST = "manifest.json"  # S3 calls it so in every inventory
NEEDED = {"sourceBucket", "destinationBucket", "fileSchema", "files"}
# What csv, gzip, zlib and pyarrow raise where bytes are not what they should be, and a row where a column is missing.
BROKEN = (ValueError, KeyError, OSError, EOFError, csv.Error, zlib.error)
Row = Mapping[str, Any]


class NotAnInventory(Exception):
    """The manifest is none, or of a kind that is not read, or one of its files is broken; the message names it."""


@dataclass(frozen=True)
class Place:
    """s3://BUCKET/KEY, where KEY may be the beginning of many."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Raises ValueError naming the text."""
        match = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]+)/?(.*)", text, re.DOTALL)
        if not match:
            raise ValueError(f"{text!r}: expected s3://BUCKET/PREFIX")
        return cls(match[1], match[2])

    def below(self, folder: str) -> "Place":
        return Place(self.bucket, f"{self.key}{folder}/")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def bucket_of(s3: Any, source: Place) -> str:
    """Where the photos are. Raises NotAnInventory."""
    return str(_manifest(s3, source)["sourceBucket"]) if _is_inventory(source) else source.bucket


def photos(s3: Any, source: Place, *, results: Place, done: int, last: str) -> Iterator[str]:
    """The keys after the first `done` of them, of which the last was `last`; no folders and no results.

    Raises NotAnInventory.
    """
    own = results.key if bucket_of(s3, source) == results.bucket else "/"  # with which no photo's name begins
    if _is_inventory(source):
        keys = (key for key in _inventory(s3, source) if not key.startswith(own))
        return islice(keys, done, None)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=source.bucket, Prefix=source.key, StartAfter=last)
    keys = (found["Key"] for page in pages for found in page.get("Contents", ()))
    return (key for key in keys if not key.endswith("/") and not key.startswith(own))


def _is_inventory(source: Place) -> bool:
    return source.key.rpartition("/")[2] == MANIFEST


def _manifest(s3: Any, source: Place) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.load(s3.get_object(Bucket=source.bucket, Key=source.key)["Body"])
        known = manifest["fileFormat"] in READERS and manifest.keys() >= NEEDED
    except (ValueError, TypeError, KeyError):
        known = False
    if not known:
        raise NotAnInventory(f"{source}: expected the manifest of an S3 Inventory as {', '.join(READERS)}")
    return manifest


def _inventory(s3: Any, source: Place) -> Iterator[str]:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html"""
    manifest = _manifest(s3, source)
    columns = [_plain(name) for name in manifest["fileSchema"].split(",")]
    for file in manifest["files"]:
        place = Place(manifest["destinationBucket"].rpartition(":")[2], file["key"])
        body = s3.get_object(Bucket=place.bucket, Key=place.key)["Body"]
        try:
            yield from (row["key"] for row in READERS[manifest["fileFormat"]](body, columns) if _is_there(row))
        except BROKEN as error:
            expected = f"a file of an S3 Inventory as {manifest['fileFormat']}, with {manifest['fileSchema']}"
            raise NotAnInventory(f"{place}: expected {expected}") from error


def _is_there(row: Row) -> bool:
    """Neither a version that was replaced, nor a deletion, nor a folder."""
    newest, deleted = (str(row.get(name, other)).lower() for name, other in NEWEST.items())
    return (newest, deleted) == ("true", "false") and not row["key"].endswith("/")


def _plain(column: str) -> str:
    """CSV has `IsLatest` where Parquet and ORC have `is_latest`."""
    return column.strip().lower().replace("_", "")


def _csv(body: Any, columns: list[str]) -> Iterator[Row]:
    with gzip.open(body, "rt", encoding="utf-8", newline="") as lines:
        for values in csv.reader(lines):
            row = dict(zip(columns, values, strict=True))
            yield row | {"key": unquote_plus(row["key"])}  # in CSV alone they are encoded


def _parquet(body: Any, _columns: list[str]) -> Iterator[Row]:
    return _rows(pyarrow.parquet.ParquetFile(io.BytesIO(body.read())).iter_batches())


def _orc(body: Any, _columns: list[str]) -> Iterator[Row]:
    file = pyarrow.orc.ORCFile(io.BytesIO(body.read()))
    return _rows(file.read_stripe(number) for number in range(file.nstripes))


def _rows(batches: Iterable[Any]) -> Iterator[Row]:
    for batch in batches:
        for row in batch.to_pylist():
            yield {_plain(name): value for name, value in row.items()}


READERS = {"CSV": _csv, "Parquet": _parquet, "ORC": _orc}
NEWEST = {"islatest": True, "isdeletemarker": False}  # what a column says that a bucket without versions has not
