"""Stage 1: photos to `artifacts/manifest.csv`. Opens every photo, sets broken ones aside, groups duplicates, splits."""

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
from training.source import PHOTOS, SUFFIXES, Layout, Source, SourceError, discover
from training.split import SPLITS, Row, group, split

REVIEWED = Path("data/set-aside.csv")
MANIFEST = Path("artifacts/manifest.csv")
SUMMARY = Path("artifacts/metrics/prepare.json")
# Of a folder: OSError. Of an archive: a wrong checksum, a broken stream, a password, a method that zipfile lacks.
UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


def main() -> None:
    params = config.load(config.Prepare)
    source = Source(PHOTOS)
    layout = discover(source.names())
    rows = split(group(inspect(source, layout.labels), params.near_duplicate_bits), params.train_share)
    rows = set_aside(rows, read_reviewed())
    rows += [Row(id=name, reason=reason) for name, reason in layout.unlabelled.items()]
    check(rows, layout, source.path)
    write(rows, layout)


def inspect(source: Source, labels: dict[str, str]) -> list[Row]:
    """Decode every file (name to label) once, on all cores."""
    work = partial(inspect_one, source)
    with ProcessPoolExecutor() as pool:
        found = pool.map(work, labels, labels.values(), chunksize=64)
        return list(tqdm(found, total=len(labels), desc=f"open {source.path.name}", unit="photo"))


def inspect_one(source: Source, name: str, label: str) -> Row:
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
    """What people found wrong with a photo, by the SHA-256 of its bytes; nothing where nobody looked."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if not {"sha256", "reason"} <= set(reader.fieldnames or ()):
            found = ",".join(reader.fieldnames or ())
            raise SourceError(f"{path} begins with {found!r}; expected a line that names the columns sha256 and reason")
        return {row["sha256"]: row["reason"] for row in reader}


def set_aside(rows: list[Row], reviewed: dict[str, str]) -> list[Row]:
    """Reviewed photos neither train nor validate; in the test split they stay, or it would be easier than the world."""
    return [
        replace(row, split="", reason=f"reviewed: {reviewed[row.sha256]}")
        if row.split in {"train", "val"} and row.sha256 in reviewed
        else row
        for row in rows
    ]


def check(rows: list[Row], layout: Layout, path: Path) -> None:
    """Raises SourceError naming the class that is missing, empty or without a photo in some split."""
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
                    f"{path}: class {label!r} has {total} photos and none falls into {name!r}; 50 suffice"
                )


def write(rows: list[Row], layout: Layout) -> None:
    for path in (MANIFEST, SUMMARY):
        path.parent.mkdir(parents=True, exist_ok=True)
    columns = [f.name for f in fields(Row) if f.name != "phash"]
    with MANIFEST.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in sorted(rows, key=lambda r: r.id))
    summary = summarise(rows, layout)
    SUMMARY.write_text(json.dumps(summary, indent=2) + "\n")
    print(
        f"{summary['photos']} photos of {len(summary['classes'])} classes ({layout.kind}): {_line(summary['splits'])}"
    )
    print(f"set aside {sum(summary['set_aside'].values())}: {_line(summary['set_aside']) or 'none'}")


def summarise(rows: Iterable[Row], layout: Layout) -> dict[str, Any]:
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
