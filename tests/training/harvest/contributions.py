"""Write contributions as the function does: S3 objects with metadata, or files with JSON beside them."""

import hashlib
import json
from pathlib import Path
from uuid import UUID

import boto3

BUCKET = "contributions-of-the-test"
SOURCE = f"s3://{BUCKET}/contributed/"


def request_id(number: int) -> str:
    return str(UUID(int=number))


def describe(photo: bytes, label: str, prediction: str, number: int, version: str = "v1"):
    """Return the key and the metadata of a contribution; the number decides the request ID."""
    key = f"contributed/{version}/{label}/{hashlib.sha256(photo).hexdigest()}.jpg"
    metadata = {
        "request-id": request_id(number),
        "prediction": prediction,
        "confidence": "0.750000",
        "time": "2026-01-02T03:04:05+00:00",
    }
    return key, metadata


def put(photo: bytes, label: str, prediction: str, number: int, **options: str) -> str:
    """Put a contribution into the bucket, and return its hash."""
    key, metadata = describe(photo, label, prediction, number, **options)
    sha256 = hashlib.sha256(photo).hexdigest()
    s3 = boto3.client("s3")
    s3.put_object(Bucket=BUCKET, Key=f"contributed/requests/{request_id(number)}/{sha256}")
    s3.put_object(Bucket=BUCKET, Key=key, Body=photo, Metadata=metadata)
    return sha256


def write(folder: Path, photo: bytes, label: str, prediction: str, number: int) -> str:
    """Write a contribution to a folder, and return its hash."""
    key, metadata = describe(photo, label, prediction, number)
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(photo)
    path.with_suffix(".json").write_text(json.dumps(metadata))
    request = folder / "contributed/requests" / request_id(number) / path.stem
    request.parent.mkdir(parents=True, exist_ok=True)
    request.touch()
    return path.stem
