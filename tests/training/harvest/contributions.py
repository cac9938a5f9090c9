"""Write contributions as the function does, in S3 or in files with JSON beside them, and reviews as the page does."""

import csv
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from uuid import UUID

import boto3

from tests.support.contributing_function import BUCKET
from tests.support.drawing import draw, encode_image
from training.harvest.__main__ import harvest
from training.harvest.data_set import CONTRIBUTIONS, read_folder_labels
from training.harvest.decisions import COLUMNS, DECISIONS_FILE, read_decisions

SOURCE = f"s3://{BUCKET}/contributed/"
OUT = Path("review")


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


def save_review(folder: Path, **changes: str) -> None:
    """Save decisions.csv with the same changes in every row, as the page does, which quotes all values."""
    rows = [asdict(replace(row, **changes)) for row in read_decisions(folder)]  # type: ignore[arg-type]  # all changes are texts
    with (folder / DECISIONS_FILE).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def contribute(seeds: Iterable[int], prediction: str = "dog") -> list[str]:
    """Put drawn cats into the bucket, and return their hashes."""
    return [put(encode_image(draw("cat", seed)), "cat", prediction, seed) for seed in seeds]


def review(decision: str = "accept", **changes: str) -> None:
    """Harvest, and decide on every photo as a reviewer does."""
    harvest(SOURCE, OUT)
    save_review(OUT, decision=decision, **changes)


def accepted() -> set[str]:
    """Return the hashes of the accepted photos."""
    return {Path(path).stem for path in read_folder_labels(CONTRIBUTIONS)}
