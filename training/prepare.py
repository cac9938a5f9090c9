"""Stage 1: write `artifacts/manifest.csv`. Open every photo, set broken ones aside, group duplicates, assign splits."""

import csv
import hashlib
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import imagehash
from tqdm import tqdm

from lambda_app.errors import RequestError
from lambda_app.preprocess import decode
from training import config
from training.source import PHOTOS, SUFFIXES, Layout, Source, SourceError, detect_layout
from training.split import SPLITS, Row, assign_splits, group_duplicates

REVIEWED = Path("data/set-aside.csv")
MANIFEST = Path("artifacts/manifest.csv")
SUMMARY = Path("artifacts/metrics/prepare.json")
# A folder raises OSError; an archive also the errors of a wrong checksum, a broken stream, a password, or a compression
# method that zipfile does not support.
UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


def main() -> None:
    params = config.load(config.Prepare)
    source = Source(PHOTOS)
    layout = detect_layout(source.names())
    rows = group_duplicates(inspect_photos(source, layout.labels), params.near_duplicate_bits)
    rows = set_aside_reviewed(assign_splits(rows, params.train_share), read_reviewed())
    rows += [Row(id=name, reason=reason) for name, reason in layout.unlabeled.items()]
    check_classes(rows, layout, source.path)
    write_manifest(rows, layout)


def inspect_photos(source: Source, labels: dict[str, str]) -> list[Row]:
    """Decode every file of `labels` (name to label) once, on all cores; return its row without group and split."""
    work = partial(inspect_photo, source)
    with ProcessPoolExecutor() as pool:
        found = pool.map(work, labels, labels.values(), chunksize=64)
        return list(tqdm(found, total=len(labels), desc=f"open {source.path.name}", unit="photo"))


def inspect_photo(source: Source, name: str, label: str) -> Row:
    try:
        data = source.read(name)
    except UNREADABLE as error:
        return Row(id=name, label=label, reason=f"unreadable: {error}")
    row = Row(id=name, label=label, sha256=hashlib.sha256(data).hexdigest())
    if not data:
        return replace(row, reason="empty file")
    if PurePosixPath(name).suffix.lower() not in SUFFIXES:
        return replace(row, reason="not an image by its name")
    try:
        image = decode(data)
    except RequestError as error:
        return replace(row, reason=f"{error.code}: {error}")
    return replace(row, phash=int(str(imagehash.phash(image)), 16))


def read_reviewed(path: Path = REVIEWED) -> dict[str, str]:
    """Return the reviewers' reasons for setting photos aside, by SHA-256; empty if there is no such file.

    Raise `SourceError` if a column is missing.
    """
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if not {"sha256", "reason"} <= set(reader.fieldnames or ()):
            found = ",".join(reader.fieldnames or ())
            raise SourceError(f"{path} begins with {found!r}; expected a header with the columns sha256 and reason")
        return {row["sha256"]: row["reason"] for row in reader}


def set_aside_reviewed(rows: list[Row], reviewed: dict[str, str]) -> list[Row]:
    """Set reviewed photos aside, except in the test split, which stays as hard as production data."""
    return [
        replace(row, split="", reason=f"reviewed: {reviewed[row.sha256]}")
        if row.split in {"train", "val"} and row.sha256 in reviewed
        else row
        for row in rows
    ]


def check_classes(rows: list[Row], layout: Layout, path: Path) -> None:
    """Raise `SourceError` if a class is missing, is empty or has no photo in one of the splits."""
    labels = sorted(set(layout.labels.values()))
    if layout.empty_folders:
        raise SourceError(
            f"{path}: the class folder {layout.empty_folders[0]!r} holds no photo (links to folders are not followed)"
        )
    if len(labels) < 2:
        raise SourceError(
            f"{path}: found {len(labels)} class ({', '.join(labels) or 'no photos'}); expected two or more"
        )
    counts = Counter((row.label, row.split) for row in rows if row.split)
    for label in labels:
        if not any(counts[label, s] for s in SPLITS):
            raise SourceError(f"{path}: class {label!r} is empty: not one of its files is a readable photo")
        for name in SPLITS:
            if not counts[label, name]:
                total = sum(counts[label, s] for s in SPLITS)
                raise SourceError(
                    f"{path}: class {label!r} has {total} photos, none in the {name!r} split; 50 per class suffice"
                )


def write_manifest(rows: list[Row], layout: Layout) -> None:
    for path in (MANIFEST, SUMMARY):
        path.parent.mkdir(parents=True, exist_ok=True)
    columns = [f.name for f in fields(Row) if f.name != "phash"]
    with MANIFEST.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in sorted(rows, key=lambda r: r.id))
    summary = summarize(rows, layout)
    SUMMARY.write_text(json.dumps(summary, indent=2) + "\n")
    print(
        f"{summary['photos']} photos of {len(summary['classes'])} classes ({layout.kind}): {_line(summary['splits'])}"
    )
    print(f"set aside {sum(summary['set_aside'].values())}: {_line(summary['set_aside']) or 'none'}")


def summarize(rows: Iterable[Row], layout: Layout) -> dict[str, Any]:
    used = [row for row in rows if row.split]
    sizes = Counter(row.group for row in used)
    return {
        "layout": layout.kind,
        "photos": len(used),
        "classes": dict(sorted(Counter(row.label for row in used).items())),
        "splits": {name: sum(row.split == name for row in used) for name in SPLITS},
        "duplicate_groups": sum(size > 1 for size in sizes.values()),
        "set_aside": dict(Counter(row.reason.split(":")[0] for row in rows if row.reason).most_common()),
    }


def _line(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


if __name__ == "__main__":
    main()
