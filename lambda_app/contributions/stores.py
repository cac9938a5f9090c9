"""Store contributed photos in a folder, or open the store of an S3 bucket."""

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Protocol

from lambda_app.contributions.contribution import Contribution
from lambda_app.errors import StorageFailed
from lambda_app.settings import S3_SCHEME


class Store(Protocol):
    def put(self, contribution: Contribution) -> None:
        """Store the photo completely or not at all. Raise `StorageFailed`. This blocks, so call it on a thread."""


class FolderStore:
    """Stores each photo as a file, and its metadata in a JSON file beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, contribution: Contribution) -> None:
        """Write the photo last, so that its metadata and the file of its request exist. Raise `StorageFailed`."""
        path, request = self.folder / contribution.key, self.folder / contribution.request_key
        metadata = json.dumps(contribution.metadata) + "\n"
        try:
            for place in (request, path):
                place.parent.mkdir(parents=True, exist_ok=True)
            _write(request, b"")
            _write(path.with_suffix(".json"), metadata.encode())
            _write(path, contribution.photo)
        except OSError as error:
            raise StorageFailed(errno.errorcode.get(error.errno or 0, type(error).__name__)) from error


def _write(path: Path, data: bytes) -> None:
    """Write a file atomically, readable by its owner only."""
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def open_store(location: str) -> Store:
    """Return the store for a value of the setting `CONTRIBUTIONS`."""
    if location.startswith(S3_SCHEME):
        from lambda_app.contributions.bucket import BucketStore  # noqa: PLC0415  # not needed with a folder

        return BucketStore(location.removeprefix(S3_SCHEME).rstrip("/"))
    return FolderStore(Path(location))
