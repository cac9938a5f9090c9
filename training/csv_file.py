"""Read and write CSV files with a header: the manifest, the history, and the lists in which people decide on photos."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from training.figures import replacing
from training.interruption import UserError


class Line(NamedTuple):
    """One line below the header."""

    place: str  # `FILE, line N`, for errors
    row: dict[str, str]


def read_lines(path: Path, required: Iterable[str], error: type[UserError], advice: str) -> list[Line]:
    """Return the lines of a list that a person may have saved with a spreadsheet program.

    Each line must have a value, possibly empty, in each of the columns `required`. Other columns are empty if the line
    ends early. Raise `error` with `advice` if a column is missing, and `error` that names the line if it has too few or
    too many values.
    """
    required = tuple(required)
    with path.open(newline="", encoding="utf-8-sig") as file:  # Excel adds a byte order mark
        reader = csv.DictReader(file)
        columns = tuple(reader.fieldnames or ())
        if not {*required} <= {*columns}:
            raise error(f"{path} begins with {','.join(columns)!r}; expected {','.join(required)}; {advice}")
        lines = [Line(f"{path}, line {reader.line_num}", row) for row in reader]
    for place, row in lines:
        if None in row or not all(isinstance(row[name], str) for name in required):
            raise error(f"{place}: expected {len(columns)} values; put a value with a comma in quotes")
    return [Line(place, {name: value or "" for name, value in row.items()}) for place, row in lines]


def write_rows(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a header and the rows. Values of other columns are left out; missing ones are empty.

    If writing fails, the file is unchanged.
    """
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, tuple(columns), extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
