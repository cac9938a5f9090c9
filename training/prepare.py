"""Write `artifacts/manifest.csv`. Open every photo, set broken ones aside, group duplicates, assign splits."""

import hashlib
import signal
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import imagehash
from tqdm import tqdm

from lambda_app.errors import RequestError
from lambda_app.preprocess import decode, read_header
from training import config
from training.csv_file import write_rows
from training.figures import write_figures
from training.interruption import exit_when_interrupted
from training.manifest import MANIFEST
from training.reviewed import describe_relabeled, read_reviewed, relabel, set_aside_reviewed
from training.source import PHOTOS, SUFFIXES, Layout, Source, SourceError
from training.source.layout import is_image
from training.source.source_reader import UNREADABLE
from training.split import SPLITS, Row, assign_splits, fill_splits, group_duplicates

CHUNK = 64  # photos that a worker opens at a time


@exit_when_interrupted()
def main() -> None:
    params = config.load(config.Prepare)
    source = Source(PHOTOS)
    layout = source.layout(params.aliases)
    check_layout(layout, source.path)
    rows = group_duplicates(inspect_photos(source, layout.labels), params.near_duplicate_bits)
    rows, layout = choose_splits(rows, layout, params, source)
    check_classes(rows, layout, source.path)
    write_manifest(rows, layout)


def choose_splits(rows: list[Row], layout: Layout, params: config.Prepare, source: Source) -> tuple[list[Row], Layout]:
    """Return all files with their split or reason, and the layout with the splits that were used, if any were given.

    Raise `SourceError` if SPLIT=given and the source does not have all three splits, or if a review is invalid.
    """
    given = sorted(set(layout.splits.values()), key=SPLITS.index)
    choice = source.list.split or ("given" if len(given) == len(SPLITS) else "hash")
    if choice == "given" and len(given) < len(SPLITS):
        raise SourceError(
            f"{source.path}: SPLIT=given expects folders called train, val and test; found {', '.join(given) or 'none'}"
        )
    reviewed = read_reviewed()
    rows = relabel(rows, reviewed, set(layout.labels.values()), params.aliases)
    layout = replace(layout, splits=layout.splits if choice == "given" else {})
    rows = set_aside_reviewed(assign_splits(rows, params.train_share, layout.splits), reviewed)
    if not layout.splits:
        rows = set_aside_reviewed(fill_splits(rows, params.train_share), reviewed)
    layout = replace(layout, notes=(*layout.notes, *describe_relabeled(rows, layout.labels)))
    return rows + [Row(id=name, reason=reason) for name, reason in layout.unlabeled.items()], layout


def inspect_photos(source: Source, labels: dict[str, str], *, is_quick: bool = False) -> list[Row]:
    """Open every file of `labels` (name to label) once, on all cores.

    Return its row without split and, unless `is_quick`, without group.
    """
    description = f"open {source.path.name}"
    if len(labels) <= CHUNK:  # a single worker would open all of them
        with tqdm(labels.items(), desc=description, unit="photo") as items:
            return [inspect_photo(source, name, label, is_quick=is_quick) for name, label in items]
    work = partial(_inspect_shared, is_quick=is_quick)
    pool = ProcessPoolExecutor(initializer=_start_worker, initargs=(source,))
    try:
        found = pool.map(work, labels, labels.values(), chunksize=CHUNK)
        with tqdm(found, total=len(labels), desc=description, unit="photo") as items:
            return list(items)
    finally:
        pool.shutdown(cancel_futures=True)  # after an interruption, do not wait for the remaining photos


_shared: list[Source] = []  # of a worker, which reads the directory of the archive once and not for every chunk


def _start_worker(source: Source) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the main one reports it
    _shared[:] = [source]


def _inspect_shared(name: str, label: str, *, is_quick: bool) -> Row:
    return inspect_photo(_shared[0], name, label, is_quick=is_quick)


def inspect_photo(source: Source, name: str, label: str, *, is_quick: bool = False) -> Row:
    """Decode a photo; `is_quick` reads only its header, so that only exact copies are duplicates."""
    try:
        data = source.read(name)
    except UNREADABLE as error:
        return Row(id=name, label=label, reason=f"unreadable: {error}")
    row = Row(id=name, label=label, sha256=hashlib.sha256(data).hexdigest())
    if not data:
        return replace(row, reason="empty file")
    if PurePosixPath(name).suffix.lower() not in SUFFIXES and not is_image(data):
        return replace(row, reason="not an image by its name")
    try:
        if is_quick:
            read_header(data)
            return replace(row, group=row.sha256)
        image = decode(data)
    except RequestError as error:
        return replace(row, reason=f"{error.code}: {error}")
    return replace(row, phash=int(str(imagehash.phash(image)), 16))


def check_layout(layout: Layout, path: Path) -> None:
    """Raise `SourceError` if there are fewer than two classes or a class folder has no photo."""
    labels = sorted(set(layout.labels.values()))
    cause = _describe_cause(layout)
    if layout.empty_folders:
        raise SourceError(f"{path}: the class folder {layout.empty_folders[0]!r} holds no photo{cause}")
    if len(labels) < 2:
        found = f"1 class ({labels[0]})" if labels else "0 classes (no photos)"
        raise SourceError(f"{path}: found {found}; expected two or more{cause}")


def _describe_cause(layout: Layout) -> str:
    """Return the most frequent reasons why files have no class, as the end of an error message.

    Return an empty string if all files have one.
    """
    folder = f"{layout.empty_folders[0]}/" if layout.empty_folders else ""
    reasons = Counter(reason for name, reason in layout.unlabeled.items() if name.startswith(folder))
    return f" ({', '.join(f'{count} files: {reason}' for reason, count in reasons.most_common(3))})" if reasons else ""


def check_classes(rows: list[Row], layout: Layout, path: Path) -> None:
    """Raise `SourceError` if a class has too few readable photos for the three splits."""
    counts = Counter((row.label, row.split) for row in rows if row.split)
    for label in sorted(set(layout.labels.values())):
        total = sum(counts[label, s] for s in SPLITS)
        reasons = Counter(row.reason.split(":")[0] for row in rows if row.label == label and row.reason)
        cause = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))
        if not total:
            raise SourceError(f"{path}: class {label!r} is empty: not one of its files can be used ({cause})")
        for name in SPLITS:
            if not counts[label, name]:
                advice = "SPLIT=hash splits by content" if layout.splits else "expected three or more different ones"
                raise SourceError(f"{path}: class {label!r} has {total} photos, none in the {name!r} split; {advice}")


def write_manifest(rows: list[Row], layout: Layout) -> None:
    columns = [f.name for f in fields(Row) if f.name != "phash"]
    write_rows(MANIFEST, columns, (asdict(row) for row in sorted(rows, key=lambda r: r.id)))
    summary = summarize(rows, layout)
    write_figures("prepare", summary)
    print(f"{summary['photos']:,} photos of {len(summary['classes'])} classes ({layout.kind})")


def summarize(rows: list[Row], layout: Layout) -> dict[str, Any]:
    used = [row for row in rows if row.split]
    sizes = Counter(row.group for row in used)
    return {
        "layout": layout.kind,
        "split": "given" if layout.splits else "hash",
        "notes": list(layout.notes),
        "photos": len(used),
        "classes": dict(sorted(Counter(row.label for row in used).items())),
        "splits": {name: sum(row.split == name for row in used) for name in SPLITS},
        "relabeled": sum(row.label != layout.labels.get(row.id, row.label) for row in used),
        "duplicate_groups": sum(size > 1 for size in sizes.values()),
        "set_aside": dict(Counter(row.reason.split(":")[0] for row in rows if row.reason).most_common()),
    }


if __name__ == "__main__":
    main()
