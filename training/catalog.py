"""Read data/datasets.yaml, the catalog of the data sets that `make train DATA=NAME` can download."""

from pathlib import Path
from typing import Any

import yaml

CATALOG = Path("data/datasets.yaml")
DEFAULT = "petimages"  # the set to train on without DATA
RAW = Path("data/raw")
CatalogEntry = dict[str, Any]


def read_catalog() -> dict[str, CatalogEntry]:
    """Return the entries by name."""
    entries: dict[str, CatalogEntry] = yaml.safe_load(CATALOG.read_text())
    return entries


def find_place(name: str, entry: CatalogEntry) -> Path:
    """Return where the download of an entry puts its photos: the file, or a folder with one folder per class."""
    return RAW / entry.get("file", f"{name}-by-class")
