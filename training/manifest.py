"""Read `artifacts/manifest.csv`, which `training.prepare` writes: one row per file, with its label and split."""

import csv
from collections.abc import Iterator
from pathlib import Path

from training.split import Row

MANIFEST = Path("artifacts/manifest.csv")


def read_manifest(path: Path = MANIFEST) -> list[Row]:
    """Return the rows of the photos that are in a split."""
    return [row for row in read_all_rows(path) if row.split]


def read_all_rows(path: Path = MANIFEST) -> Iterator[Row]:
    """Yield all rows, also of the files that were set aside."""
    with path.open(newline="") as file:
        for values in csv.DictReader(file):
            yield Row(**values, phash=0)  # the manifest has no perceptual hashes


def list_classes(rows: list[Row]) -> list[str]:
    return sorted({row.label for row in rows})
