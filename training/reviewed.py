"""Read and write data/set-aside.csv, the decisions of reviewers on photos, by the SHA-256 of the photo.

A row without a `label` sets a photo aside; the column may be missing. A class in this column replaces the label of the
photo. Rows of photos that the source does not have are ignored, since one list may serve several data sets.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from training.csv_file import Line, read_lines, write_rows
from training.source import SourceError
from training.split import Row

REVIEWED = Path("data/set-aside.csv")
SHA256 = re.compile("[0-9a-f]{64}")
SHOWN = 5  # pairs of classes in a sentence


@dataclass(frozen=True)
class Review:
    """The decision on one photo."""

    label: str  # the class that the photo shows, in lower case; empty if the photo is set aside
    reason: str
    place: str = ""  # file and line, for errors


def read_reviewed(path: Path = REVIEWED) -> dict[str, Review]:
    """Return the decisions by SHA-256; empty if there is no such file.

    Raise `SourceError` that names the line if a column is missing, a hash is invalid, or a photo is listed twice.
    """
    reviewed: dict[str, Review] = {}
    for place, row in read_list(path):
        sha256 = row["sha256"].strip().lower()
        if not SHA256.fullmatch(sha256):
            raise SourceError(f"{place}: sha256 is {row['sha256']!r}; expected 64 hexadecimal digits")
        if first := reviewed.get(sha256):
            raise SourceError(f"{place}: {first.place} has the same photo ({sha256}); delete one of the two lines")
        reviewed[sha256] = Review(row.get("label", "").strip().lower(), row["reason"], place)
    return reviewed


def write_reviewed(reviewed: Mapping[str, tuple[str, Review]], path: Path = REVIEWED) -> None:
    """Add decisions, by SHA-256 with the ID of the photo, to the file. Rows of the same photos are replaced.

    All other rows and columns are kept. The file is complete at any time. Raise the errors of `read_reviewed`.
    """
    read_reviewed(path)  # a photo that is listed twice would lose a line
    rows = {line.row["sha256"].strip().lower(): line.row for line in read_list(path)}
    for sha256, (name, review) in reviewed.items():
        new = {"sha256": sha256, "id": name, "reason": review.reason, "label": review.label}
        rows[sha256] = rows.get(sha256, {}) | new
    columns = dict.fromkeys(name for row in rows.values() for name in row)
    write_rows(path, columns, rows.values())


def read_list(path: Path) -> list[Line]:
    """Return the lines of the file, or none if there is no such file."""
    if not path.exists():
        return []
    return read_lines(path, ("sha256", "reason"), SourceError, "add this header, with the column label if needed")


def relabel(
    rows: Iterable[Row], reviewed: Mapping[str, Review], classes: Collection[str], aliases: Mapping[str, str]
) -> list[Row]:
    """Return the rows with the labels of the reviewers, in every split: a corrected label makes no test easier.

    Raise `SourceError` that names the line if the label of one of these photos is not a class of the source.
    """
    found = []
    for row in rows:
        review = reviewed.get(row.sha256)
        if review and review.label and not row.reason:
            label = aliases.get(review.label, review.label)
            if label not in classes:
                expected = ", ".join(sorted(classes))
                raise SourceError(f"{review.place}: label is {review.label!r}; expected {expected}, or nothing")
            row = replace(row, label=label)
        found.append(row)
    return found


def describe_relabeled(rows: Iterable[Row], labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return a sentence about the used photos whose label differs from the one in `labels`, or nothing if none do."""
    changes = Counter((labels[row.id], row.label) for row in rows if row.split and row.label != labels[row.id])
    if not changes:
        return ()
    listed = ", ".join(f"{count:,} from {old} to {new}" for (old, new), count in changes.most_common(SHOWN))
    more = ", …" if len(changes) > SHOWN else ""
    return (f"{REVIEWED} relabels photos: {listed}{more}",)


def set_aside_reviewed(rows: list[Row], reviewed: Mapping[str, Review]) -> list[Row]:
    """Set reviewed photos without a label aside, except in the test split, which stays as hard as production data."""
    return [
        replace(row, split="", reason=f"reviewed: {review.reason}")
        if row.split in {"train", "val"} and (review := reviewed.get(row.sha256)) and not review.label
        else row
        for row in rows
    ]
