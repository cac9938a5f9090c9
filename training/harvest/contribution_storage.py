"""List, read and delete contributed photos in an S3 bucket, or in the folder that a container writes."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lambda_app.contributions.contribution import REQUESTS
from training.harvest.contributed_photo import Entry, HarvestError, Origin, Sender, parse_key, parse_request_key

S3_ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]+)/?(?P<prefix>.*)", re.DOTALL)
THREADS = 16  # a request takes about 20 ms, so 10,000 of them take 13 s
UNAVAILABLE = (BotoCoreError, ClientError)  # credentials, permissions, network, a bucket that does not exist


class Storage(Protocol):
    def list_entries(self) -> Iterator[Entry]:
        """Yield the contributions in the order of their keys; ignore everything else."""

    def list_senders(self) -> Iterator[Sender]:
        """Yield the requests that contributed photos.

        Older versions of the function recorded them only in the metadata.
        """

    def read(self, entry: Entry) -> tuple[bytes, Origin]:
        """Return photo and metadata."""

    def read_origin(self, entry: Entry) -> Origin:
        """Return only the metadata."""

    def read_photo(self, entry: Entry) -> bytes:
        """Return only the photo, whose metadata may be invalid."""

    def delete(self, item: Entry | Sender) -> None:
        """Delete the photo with all its versions and its metadata, or the record of a request."""


def open_storage(source: str) -> Storage:
    """Return the storage at `s3://BUCKET/PREFIX` or at a path. Raise `HarvestError` if it is neither."""
    if match := S3_ADDRESS.fullmatch(source):
        return Bucket(match["bucket"], match["prefix"])
    folder = Path(source).expanduser()
    if source and folder.is_dir():
        return Folder(folder)
    raise HarvestError(f"SOURCE is {source!r}; expected s3://BUCKET/contributed/ or a folder that exists")


@dataclass(frozen=True)
class Bucket:
    name: str
    prefix: str

    @cached_property
    def client(self) -> Any:
        return boto3.client("s3", config=Config(max_pool_connections=THREADS))

    def list_entries(self) -> Iterator[Entry]:
        for item in self._list_objects(self.prefix):
            if entry := parse_key(item["Key"], f"{item['LastModified'].astimezone(UTC):%Y-%m-%d}"):
                yield entry

    def list_senders(self) -> Iterator[Sender]:
        for item in self._list_objects(REQUESTS):  # also if the prefix is longer, as in contributed/MODEL_VERSION/
            if sender := parse_request_key(item["Key"]):
                yield sender

    def _list_objects(self, prefix: str) -> Iterator[dict[str, Any]]:
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
            yield from page.get("Contents", ())

    def read(self, entry: Entry) -> tuple[bytes, Origin]:
        found = self.client.get_object(Bucket=self.name, Key=entry.key)
        return found["Body"].read(), Origin.parse(found["Metadata"], entry.key)

    def read_origin(self, entry: Entry) -> Origin:
        return Origin.parse(self.client.head_object(Bucket=self.name, Key=entry.key)["Metadata"], entry.key)

    def read_photo(self, entry: Entry) -> bytes:
        photo: bytes = self.client.get_object(Bucket=self.name, Key=entry.key)["Body"].read()
        return photo

    def delete(self, item: Entry | Sender) -> None:
        # In a bucket with versioning, deleting a key would only hide the photo.
        pages = self.client.get_paginator("list_object_versions").paginate(Bucket=self.name, Prefix=item.key)
        for page in pages:
            for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                self.client.delete_object(Bucket=self.name, Key=version["Key"], VersionId=version["VersionId"])


@dataclass(frozen=True)
class Folder:
    """Photos as files, with their metadata as JSON beside them."""

    root: Path

    def list_entries(self) -> Iterator[Entry]:
        for path in sorted(self.root.rglob("*.jpg")):
            day = f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%d}"
            if entry := parse_key(path.relative_to(self.root).as_posix(), day):
                yield entry

    def list_senders(self) -> Iterator[Sender]:
        for path in sorted(self.root.rglob("requests/*/*")):
            if sender := parse_request_key(path.relative_to(self.root).as_posix()):
                yield sender

    def read(self, entry: Entry) -> tuple[bytes, Origin]:
        return self.read_photo(entry), self.read_origin(entry)

    def read_origin(self, entry: Entry) -> Origin:
        path = (self.root / entry.key).with_suffix(".json")
        try:
            metadata = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise HarvestError(f"{path} cannot be read ({error}); expected the metadata of {entry.key}") from None
        return Origin.parse(metadata, entry.key)

    def read_photo(self, entry: Entry) -> bytes:
        return (self.root / entry.key).read_bytes()

    def delete(self, item: Entry | Sender) -> None:
        file = self.root / item.key
        for path in (file, file.with_suffix(".json")):
            path.unlink(missing_ok=True)
        if isinstance(item, Sender):
            with suppress(OSError):  # the request contributed other photos, too
                file.parent.rmdir()
