"""Read and write decisions.csv, in which a reviewer accepts, holds or rejects each contribution."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from training.csv_file import Line, read_lines, write_rows
from training.harvest.contributed_photo import Candidate, HarvestError

DECISIONS_FILE = "decisions.csv"
PROPOSALS = "proposals.csv"  # the proposals of the harvest; differences from them are the reviewer's decisions
HARVESTED = "decisions.harvested.csv"  # a copy of decisions.csv as the harvest wrote it
ACCEPT, HOLD, REJECT = "accept", "hold", "reject"
DECISIONS = (ACCEPT, HOLD, REJECT)  # a held photo stays undecided: the next harvest shows it again
COLUMNS = tuple(field.name for field in fields(Candidate))
RESTORE = "restore this line, or delete the file and run `make harvest` again, which starts the review over"


def write_decisions(candidates: Iterable[Candidate], folder: Path, name: str = DECISIONS_FILE) -> None:
    write_rows(folder / name, COLUMNS, (_format(candidate) for candidate in candidates))


def _format(candidate: Candidate) -> dict[str, Any]:
    doubt = "" if candidate.doubt is None else f"{candidate.doubt:.4f}"
    return asdict(candidate) | {"doubt": doubt, "confidence": f"{candidate.confidence:.4f}"}


def read_decisions(folder: Path, name: str = DECISIONS_FILE) -> list[Candidate]:
    """Return the rows of FOLDER/decisions.csv.

    Raise `HarvestError` that names the line if one is invalid or a photo is listed twice.
    """
    path = folder / name
    if not path.exists():
        raise HarvestError(f"{path} does not exist; expected the OUT folder of `make harvest`")
    candidates: list[Candidate] = []
    places: dict[str, str] = {}
    for line in read_lines(path, COLUMNS, HarvestError, RESTORE):
        candidate = _parse(line)
        if first := places.get(candidate.sha256):
            raise HarvestError(f"{line.place}: {first} has the same photo; delete one of the two lines")
        places[candidate.sha256] = line.place
        candidates.append(candidate)
    return candidates


def is_unchanged(folder: Path) -> bool:
    """Return whether decisions.csv is as the harvest wrote it: no one saved a review over it.

    The file that the page saves always differs, because the page quotes every value.
    """
    harvested = folder / HARVESTED
    return harvested.exists() and harvested.read_bytes() == (folder / DECISIONS_FILE).read_bytes()


def _parse(line: Line) -> Candidate:
    place, row = line
    if row["decision"] not in DECISIONS:
        raise HarvestError(f"{place}: decision is {row['decision']!r}; expected {', '.join(DECISIONS)}")
    try:
        doubt = float(row["doubt"]) if row["doubt"] else None
        values = {name: row[name] for name in COLUMNS}
        return Candidate(**values | {"doubt": doubt, "confidence": float(row["confidence"])})  # type: ignore[arg-type]  # mypy merges the types of the values
    except ValueError as error:
        raise HarvestError(f"{place}: {error}; expected numbers in the columns doubt and confidence") from None


def read_changed(folder: Path) -> dict[str, Candidate]:
    """Return the rows that a reviewer changed since the last harvest, by hash. Unchanged proposals do not count."""
    if not (folder / DECISIONS_FILE).exists() or not (folder / PROPOSALS).exists():
        return {}
    proposed = {row.sha256: (row.decision, row.label) for row in read_decisions(folder, PROPOSALS)}
    rows = read_decisions(folder)
    return {row.sha256: row for row in rows if proposed.get(row.sha256) != (row.decision, row.label)}


def keep_decisions(candidates: Iterable[Candidate], reviewed: Mapping[str, Candidate]) -> list[Candidate]:
    """Return the candidates with the reviewer's decisions and labels."""
    return [
        replace(candidate, decision=old.decision, label=old.label, reason=old.reason)
        if (old := reviewed.get(candidate.sha256))
        else candidate
        for candidate in candidates
    ]
