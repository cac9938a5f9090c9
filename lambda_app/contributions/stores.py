"""Store contributed photos in a folder or in an S3 bucket."""

import errno
import json
import logging
import os
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from lambda_app.contributions.contribution import Contribution
from lambda_app.errors import StorageFailed
from lambda_app.settings import BUCKET_URL

# Storing a photo writes two objects, each in at most two attempts of 2 s with a pause of 1 s: at most 10 s in all. The
# function's timeout is 15 s.
TIMEOUTS = {"connect_timeout": 1, "read_timeout": 1}
ATTEMPTS = 2


class Store(Protocol):
    def put(self, contribution: Contribution) -> None:
        """Store the photo completely or not at all. Raise `StorageFailed`. This blocks, so call it on a thread."""


class FolderStore:
    """Store each photo as a file, and its metadata in a JSON file beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, contribution: Contribution) -> None:
        """Write the photo last: once it exists, so do its metadata and the empty file of its request.

        Raise `StorageFailed`.
        """
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


class BucketStore:
    """Store each photo as an object. PutObject is atomic: an interrupted upload leaves no object.

    Storing the first photo imports botocore and creates a client, which takes 0.5 s.
    """

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket

    @cached_property
    def client(self) -> Any:
        from botocore.config import Config  # noqa: PLC0415  # not needed at a cold start, or with a folder
        from botocore.session import Session  # noqa: PLC0415

        for name in ("botocore", "urllib3"):  # their messages below ERROR contain object names and metadata
            logging.getLogger(name).setLevel(logging.ERROR)
        retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
        return Session().create_client("s3", config=Config(signature_version="s3v4", retries=retries, **TIMEOUTS))

    def put(self, contribution: Contribution) -> None:
        """Write the object of the request, then the photo, both encrypted with S3's own keys.

        Raise `StorageFailed` with S3's error code.
        """
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # not needed at a cold start

        place = {"Bucket": self.bucket, "ServerSideEncryption": "AES256"}
        photo = {"Body": contribution.photo, "ContentType": "image/jpeg", "Metadata": contribution.metadata}
        try:
            self.client.put_object(**place, Key=contribution.request_key)
            self.client.put_object(**place, Key=contribution.key, **photo)
        except ClientError as error:
            raise StorageFailed(error.response["Error"]["Code"]) from error
        except BotoCoreError as error:
            raise StorageFailed(type(error).__name__) from error


def open_store(location: str) -> Store:
    """Return the store for a value of the setting `CONTRIBUTIONS`."""
    if match := BUCKET_URL.fullmatch(location):
        return BucketStore(match[1])
    return FolderStore(Path(location))
