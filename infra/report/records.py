"""Log lines to columns: a million lines are some arrays of numbers, never a million dictionaries."""

import json
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]
# As lambda_app.signals names them.
SIGNALS = ("entropy", "energy", "familiarity", "brightness", "contrast", "saturation", "sharpness")


@dataclass(frozen=True)
class Table:
    """Columns of one length, in the order of `time` (seconds since 1970). What a line lacks is NaN or None."""

    columns: Mapping[str, Column]

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.columns["time"])

    def where(self, rows: Column | slice) -> "Table":
        """Those of a mask, of a list of indices or of a slice."""
        return Table({name: column[rows] for name, column in self.columns.items()})

    def having(self, name: str) -> "Table":
        return self.where(self[name] != None)  # noqa: E711  # element by element


@dataclass(frozen=True)
class Log:
    """A window of the log: each request once, and every feedback."""

    requests: Table
    feedback: Table
    counts: Counter[str]  # of lines, by what they were


@dataclass(frozen=True)
class Kind:
    """Which fields of a line are kept, beside its time."""

    key: str  # the field whose hash is the id
    words: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    optional_words: tuple[str, ...] = ()
    optional_numbers: tuple[str, ...] = ()


KINDS = {
    "request": Kind(
        key="request_id",
        words=("service", "model_version"),
        numbers=("status", "total_ms", "cold_start"),
        optional_words=("error_code", "predicted_class"),
        optional_numbers=("confidence", "unknown", "photo_bytes", "photo_width", "photo_height", *SIGNALS),
    ),
    "feedback": Kind(key="feedback_for", words=("label",)),
}


class _Rows:
    """Lines of one kind. An id is a 64-bit hash: two of a million ids share one in 3e-8 of all reports."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.ids = array("q")
        self.numbers = {name: array("d") for name in ("time", *kind.numbers, *kind.optional_numbers)}
        self.words: dict[str, list[str | None]] = {name: [] for name in (*kind.words, *kind.optional_words)}

    def add(self, time: float, record: Mapping[str, Any]) -> None:
        """Raises KeyError, TypeError, ValueError or OverflowError before anything of the line is kept."""
        key, get = hash(str(record[self.kind.key])), record.get
        numbers = [time, *(float(record[name]) for name in self.kind.numbers)]
        numbers += [float(get(name, nan)) for name in self.kind.optional_numbers]
        # Interned: of a class name that comes a million times, one is kept.
        words: list[str | None] = [sys.intern(record[name]) for name in self.kind.words]
        words += [word and sys.intern(word) for word in map(get, self.kind.optional_words)]
        self.ids.append(key)
        for column, number in zip(self.numbers.values(), numbers, strict=True):
            column.append(number)
        for names, word in zip(self.words.values(), words, strict=True):
            names.append(word)

    def table(self) -> Table:
        """Sorted by time."""
        columns: dict[str, Column] = {"id": np.frombuffer(self.ids, np.int64)}
        columns |= {name: np.frombuffer(column, np.float64) for name, column in self.numbers.items()}
        columns |= {name: np.array(words, object) for name, words in self.words.items()}
        return Table(columns).where(np.argsort(columns["time"], kind="stable"))


def read(lines: Iterable[str], since: datetime | None = None) -> Log:
    """What the function wrote since then; whatever else is in the log is counted, and passed over."""
    counts: Counter[str] = Counter()
    rows = {name: _Rows(kind) for name, kind in KINDS.items()}
    earliest = since.timestamp() if since else 0.0
    for line in lines:
        counts[_read(line, rows, earliest)] += 1
    requests = rows["request"].table()
    # A log that was read twice, or joined from files that overlap, holds a request twice.
    once = np.sort(np.unique(requests["id"], return_index=True)[1])
    counts["repeated request"] = len(requests) - len(once)
    counts["request"] = len(once)
    return Log(requests.where(once), rows["feedback"].table(), counts)


def _read(line: str, rows: Mapping[str, _Rows], earliest: float) -> str:
    """Keep what the line says; returns what it was."""
    kind, record = _kind(line)
    if kind not in rows:
        return kind
    try:
        time = datetime.fromisoformat(record["timestamp"]).timestamp()
        if time < earliest:
            return "earlier"
        if "predicted_class" in record and not 0 <= record["confidence"] <= 1:
            return "malformed"
        rows[kind].add(time, record)
    except (KeyError, TypeError, ValueError, OverflowError):
        return "malformed"
    return kind


def _kind(line: str) -> tuple[str, Mapping[str, Any]]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return "no JSON", {}
    if not isinstance(record, dict):
        return "another's", {}
    if "_aws" in record:
        return "metrics", record
    message = record.get("message")  # of Lambda's own lines it may be an object
    return (message if message in tuple(KINDS) else "another's"), record
