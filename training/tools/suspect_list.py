"""Read and write artifacts/suspects.csv, the list of suspicious photos, with a column `decision` for reviewers."""

import csv
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from training.figures import replacing
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
    suggestion: str  # a class, or `set aside`
    label_probability: float  # of the current label
    suggestion_probability: float  # of the suggested class, or that the photo shows none of the classes
    id: str
    label: str
    split: str
    sha256: str
    decision: str = ""


COLUMNS = (
    *("number", "kind", "id", "label", "suggestion", "label_probability", "suggestion_probability"),
    *("split", "sha256", "decision"),
)


@dataclass(frozen=True)
class Line:
    """One line of the file, with the decision that a person wrote into it."""

    place: str  # file and line number
    row: dict[str, str]

    @property
    def decision(self) -> str:
        return self.row["decision"].strip()


def write_suspects(suspects: Iterable[Suspect], decided: Iterable[Line] = ()) -> None:
    """Write the suspects, then the lines with a decision, whose cells stay unchanged."""
    write_rows([*(_to_row(suspect) for suspect in suspects), *(line.row for line in decided)])


def write_rows(rows: Iterable[Mapping[str, str]]) -> None:
    with replacing(SUSPECTS) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _to_row(suspect: Suspect) -> dict[str, str]:
    return {name: f"{value:.4f}" if isinstance(value, float) else str(value) for name, value in asdict(suspect).items()}


def read_lines() -> list[Line]:
    """Return the lines of the file, or an empty list if there is no file.

    Raise `UserError` if a column or a cell is missing or unknown.
    """
    if not SUSPECTS.exists():
        return []
    with SUSPECTS.open(newline="", encoding="utf-8-sig") as file:  # Excel adds a byte order mark
        reader = csv.DictReader(file)
        if set(reader.fieldnames or ()) != set(COLUMNS):
            found = ",".join(reader.fieldnames or ())
            raise UserError(
                f"{SUSPECTS} begins with {found!r}; expected {','.join(COLUMNS)}; restore this line, or delete the file"
            )
        lines = [Line(f"{SUSPECTS}, line {reader.line_num}", row) for row in reader]
    for line in lines:
        if None in line.row or None in line.row.values():
            raise UserError(f"{line.place}: expected {len(COLUMNS)} values; put a value with a comma in quotes")
    return lines


def parse_decision(line: Line, classes: Collection[str], aliases: Mapping[str, str]) -> Review:
    """Return the review that a line decides on. Raise `UserError` if it is neither a class nor `set aside`."""
    label = line.decision.lower()
    label = aliases.get(label, label)
    if label in classes:
        reason = "label confirmed" if label == line.row["label"] else f"the label was {line.row['label']}"
        return Review(label, reason)
    if match := SET_ASIDE_FOR.fullmatch(line.decision):
        return Review("", match["reason"] or DEFAULT_REASON.get(line.row["kind"], "reviewed"))
    expected = ", ".join(sorted(classes))
    raise UserError(f"{line.place}: decision is {line.decision!r}; expected {expected}, {SET_ASIDE!r}, or nothing")


def find_decided(lines: Sequence[Line]) -> dict[str, Line]:
    """Return the lines with a decision by the hash of the photo. Raise `UserError` if two have the same photo."""
    decided: dict[str, Line] = {}
    for line in lines:
        if not line.decision:
            continue
        if first := decided.get(line.row["sha256"]):
            raise UserError(f"{line.place}: {first.place} decides on the same photo; delete one of the two lines")
        decided[line.row["sha256"]] = line
    return decided
