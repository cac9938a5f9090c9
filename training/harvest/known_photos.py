"""List the known photos with perceptual hashes: those of the manifest, and all accepted contributions."""

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from training.figures import replacing
from training.harvest.data_set import CONTRIBUTIONS, read_folder_labels
from training.prepare import inspect_photos
from training.source import PHOTOS, Source
from training.split import Row

CACHE = Path("artifacts/perceptual_hashes.csv")


def read_known(manifest: list[Row]) -> list[Row]:
    """Return a row with a perceptual hash for each photo. Only photos that the cache lacks are decoded."""
    cache = read_cache()
    labels = {row.id: row.label for row in manifest if row.sha256 not in cache}
    if labels:
        cache |= {row.sha256: row.phash for row in inspect_photos(Source(PHOTOS), labels) if not row.reason}
        write_cache(cache)
    rows = [replace(row, phash=cache[row.sha256]) for row in manifest if row.sha256 in cache]
    accepted = read_folder_labels(CONTRIBUTIONS)
    inspected = inspect_photos(Source(CONTRIBUTIONS), accepted) if accepted else []
    return rows + [row for row in inspected if not row.reason]


def read_cache() -> dict[str, int]:
    """Return perceptual hashes by SHA-256, or nothing without a cache."""
    if not CACHE.exists():
        return {}
    with CACHE.open(newline="") as file:
        return {sha256: int(phash, 16) for sha256, phash in csv.reader(file)}


def write_cache(hashes: Mapping[str, int]) -> None:
    with replacing(CACHE) as partial, partial.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows((sha256, f"{phash:016x}") for sha256, phash in hashes.items())
