"""Read `artifacts/manifest.csv`, which `training.prepare` writes: one row per file, with its label and split."""

import csv
from collections.abc import Iterator
from pathlib import Path

from training.split import Row

MANIFEST = Path("artifacts/manifest.csv")


def read_manifest(path: Path = MANIFEST) -> list[dict[str, str]]:
    """Return the rows of the photos that are in a split, unlike `read_rows`."""
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"]]


def read_rows() -> Iterator[Row]:
    """Yield all rows, also of the files that were set aside."""
    with MANIFEST.open(newline="") as file:
        for values in csv.DictReader(file):
            yield Row(**values, phash=0)  # the manifest has no perceptual hashes


def class_names(rows: list[dict[str, str]]) -> list[str]:
    return sorted({row["label"] for row in rows})
