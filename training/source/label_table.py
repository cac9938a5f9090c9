"""Read labels from a CSV, TSV or JSON Lines file beside the photos."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import PurePosixPath

from training.source.class_level import SPLIT
from training.source.source_reader import UNREADABLE

TABLES = {".csv", ".tsv", ".jsonl"}
LABELS = ("label", "labels", "class", "class_name", "category", "breed", "species", "target", "label_name")
MAX_TABLE = 64 << 20  # bytes
TableRow = dict[str, str]


def read_label_tables(files: list[str], photos: list[str], read: Callable[[str], bytes]) -> tuple[str, dict[str, str]]:
    """Return the tables that label most photos, and the label of each; nothing if there is no such table.

    A table has a column of labels (`LABELS`) and a column with the path, name or stem of each photo. A sample
    submission does not count: its labels are made up.
    """
    used: list[str] = []
    labels: dict[str, str] = {}
    index = _index_photos(photos)
    for table in (n for n in files if PurePosixPath(n).suffix.lower() in TABLES and "submission" not in n.lower()):
        try:
            rows = _read_rows(table, read)
        except (*UNREADABLE, csv.Error, ValueError):
            continue  # damaged, or not a table, despite its suffix
        if found := _match(rows, PurePosixPath(table).parent, index):
            used.append(table)
            labels |= found
    is_complete = (
        10 * len(labels) > 9 * len(photos)
        if _has_class_folders(photos)
        else 2 * len(labels) > len(photos) or _covers_folder(photos, labels)
    )
    return (", ".join(used), labels) if len(set(labels.values())) > 1 and is_complete else ("", {})


def _has_class_folders(photos: list[str]) -> bool:
    """Return whether the photos are in two or more folders that are not those of splits."""
    folders = {PurePosixPath(photo).parent.name.lower() for photo in photos} - {"images", ""}
    return sum(SPLIT.fullmatch(name) is None for name in folders) > 1


def _covers_folder(photos: list[str], labels: dict[str, str]) -> bool:
    """Return whether most photos of at least one folder have a label; those of a test folder may be withheld."""
    counts: dict[PurePosixPath, list[bool]] = defaultdict(list)
    for photo in photos:
        counts[PurePosixPath(photo).parent].append(photo in labels)
    return any(sum(known) * 2 > len(known) and sum(known) > 1 for known in counts.values())


def _index_photos(photos: list[str]) -> dict[str, list[str]]:
    """Return the photos by path and by name, each with and without suffix, as tables may name them."""
    index: dict[str, list[str]] = defaultdict(list)
    for photo in photos:
        path = PurePosixPath(photo)
        for form in {photo, str(path.with_suffix("")), path.name, path.stem}:
            index[form].append(photo)
    return index


def _match(rows: list[TableRow], folder: PurePosixPath, index: dict[str, list[str]]) -> dict[str, str]:
    columns = dict.fromkeys(column for row in rows for column in row)  # a line of JSON may lack some
    label = next((c for c in columns if c.strip().lower() in LABELS), None)
    if label is None:
        return {}
    found = max((_find_photos(rows, c, folder, index) for c in columns if c != label), key=len, default={})
    return {photo: row.get(label, "").strip().lower() for photo, row in found.items() if row.get(label, "").strip()}


def _find_photos(
    rows: list[TableRow], column: str, folder: PurePosixPath, index: dict[str, list[str]]
) -> dict[str, TableRow]:
    """Return the row of each photo that the values of a column identify uniquely."""
    found = {}
    for row in rows:
        value = (row.get(column) or "").strip()
        for form in (str(folder / value), value, PurePosixPath(value).name):
            if value and len(photos := index.get(form, [])) == 1:
                found[photos[0]] = row
                break
    return found


def _read_rows(table: str, read: Callable[[str], bytes]) -> list[TableRow]:
    data = read(table)[:MAX_TABLE].decode("utf-8-sig", "replace")
    if table.lower().endswith(".jsonl"):
        return _parse_json_lines(data)
    delimiter = "\t" if table.lower().endswith(".tsv") else max(",;\t", key=data.partition("\n")[0].count)
    return [{k: v or "" for k, v in row.items() if k} for row in csv.DictReader(io.StringIO(data), delimiter=delimiter)]


def _parse_json_lines(data: str) -> list[TableRow]:
    values = [json.loads(line) for line in data.splitlines() if line.strip()]
    return [{k: "" if v is None else str(v) for k, v in row.items()} for row in values if isinstance(row, dict)]
