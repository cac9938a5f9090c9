"""Read and write artifacts/suspects.csv, the list of suspicious photos, with a column `decision` for reviewers."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from training.csv_file import Line, read_lines, write_rows
from training.interruption import UserError
from training.reviewed import Review

SUSPECTS = Path("artifacts/suspects.csv")
LABEL, UNKNOWN = "label", "unknown"  # kinds: the photo probably shows another class, or none of them
SET_ASIDE = "set aside"  # a decision; the others are names of classes
SET_ASIDE_FOR = re.compile(r"set[ -]aside(: *(?P<reason>.+))?", re.IGNORECASE)
DEFAULT_REASON = {LABEL: "doubtful label", UNKNOWN: "shows none of the classes"}


@dataclass(frozen=True)
class Suspect:
    """One photo to decide on; the fields are the columns of the file."""

    number: int  # the same as in the pictures
    kind: str
    id: str
    label: str
    suggestion: str  # a class, or `set aside`
    label_probability: float  # of the current label
    suggestion_probability: float  # of the suggested class, or that the photo shows none of the classes
    split: str
    sha256: str
    decision: str = ""


COLUMNS = tuple(field.name for field in fields(Suspect))


def write_suspects(suspects: Iterable[Suspect], decided: Iterable[Line] = ()) -> None:
    """Write the suspects, then the lines with a decision, whose cells stay unchanged."""
    write_suspect_lines([*(_to_row(suspect) for suspect in suspects), *(line.row for line in decided)])


def write_suspect_lines(rows: Sequence[Mapping[str, str]]) -> None:
    """Write the rows with all columns, also those that a person added."""
    write_rows(SUSPECTS, dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]), rows)


def _to_row(suspect: Suspect) -> dict[str, str]:
    return {name: f"{value:.4f}" if isinstance(value, float) else str(value) for name, value in asdict(suspect).items()}


def read_suspect_lines() -> list[Line]:
    """Return the lines of the file, or an empty list if there is no file. Raise `UserError` if one is damaged."""
    if not SUSPECTS.exists():
        return []
    return read_lines(SUSPECTS, COLUMNS, UserError, "restore this line, or delete the file")


def parse_decision(line: Line, classes: Collection[str], aliases: Mapping[str, str]) -> Review:
    """Return the review that a line decides on. Raise `UserError` if it is neither a class nor `set aside`."""
    decision = line.row["decision"].strip()
    label = aliases.get(decision.lower(), decision.lower())
    if label in classes:
        reason = "label confirmed" if label == line.row["label"] else f"the label was {line.row['label']}"
        return Review(label, reason)
    if match := SET_ASIDE_FOR.fullmatch(decision):
        return Review("", match["reason"] or DEFAULT_REASON.get(line.row["kind"], "reviewed"))
    expected = ", ".join(sorted(classes))
    raise UserError(f"{line.place}: decision is {decision!r}; expected {expected}, {SET_ASIDE!r}, or nothing")


def find_decided(lines: Sequence[Line]) -> dict[str, Line]:
    """Return the lines with a decision by the hash of the photo. Raise `UserError` if two have the same photo."""
    decided: dict[str, Line] = {}
    for line in lines:
        if not line.row["decision"].strip():
            continue
        if first := decided.get(line.row["sha256"]):
            raise UserError(f"{line.place}: {first.place} decides on the same photo; delete one of the two lines")
        decided[line.row["sha256"]] = line
    return decided
