"""Log lines to columns: a million lines are some arrays of numbers, never a million dictionaries."""

import json
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]
# As lambda_app.signals names them.
SIGNALS = ("entropy", "energy", "familiarity", "brightness", "contrast", "saturation", "sharpness")
LATE = timedelta(days=30)  # so long after its prediction, feedback still finds it
# Without which a line of its kind says nothing.
REQUIRED = {
    "request": ("service", "model_version", "status", "total_ms", "cold_start"),
    "prediction": ("service", "model_version", "predicted_class", "confidence", "unknown"),
    "feedback": ("label",),
}


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
    """A window of the log. Each line counts once, however often it was read, but for feedback."""

    requests: Table  # and the predictions of those with several photos, which have no status
    earlier: Table  # predictions of before the window, as much of them as feedback needs
    feedback: Table
    counts: Counter[str]  # of lines, by what they were


@dataclass(frozen=True)
class Fields:
    """Of a line what is kept, beside its time."""

    key: str  # the field whose hash is the id
    words: tuple[str, ...]
    numbers: tuple[str, ...] = ()


PHOTO = ("confidence", "unknown", "photo_bytes", "photo_width", "photo_height", *SIGNALS)
TABLES = {
    "requests": Fields(
        "request_id",
        ("service", "model_version", "error_code", "predicted_class"),
        ("status", "total_ms", "cold_start", *PHOTO),
    ),
    "earlier": Fields("request_id", ("model_version", "predicted_class"), ("confidence",)),
    "feedback": Fields("feedback_for", ("label",)),
}


class _Rows:
    """Lines of one table. An id is a 64-bit hash: two of a million ids share one in 3e-8 of all reports."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.ids = array("q")
        self.numbers = {name: array("d") for name in ("time", *fields.numbers)}
        self.words: dict[str, list[str | None]] = {name: [] for name in fields.words}

    def add(self, time: float, record: Mapping[str, Any]) -> None:
        """Raises KeyError, TypeError, ValueError or OverflowError before anything of the line is kept."""
        key, get = hash(str(record[self.fields.key])), record.get
        numbers = [time, *(float(get(name, nan)) for name in self.fields.numbers)]
        # Interned: of a class name that comes a million times, one is kept.
        words = [None if word is None else sys.intern(word) for word in map(get, self.fields.words)]
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


def read(
    lines: Iterable[str],
    since: datetime | None = None,
    earlier: Iterable[Iterable[str]] = (),
    *,
    synthetic: bool = False,
) -> Log:
    """What the function wrote since then; whatever else is in the log is counted, and passed over.

    So are the lines of rehearsals and smoke tests, unless `synthetic` ones are wanted. Of the parts of what is
    `earlier`, as many are read as it takes to find the predictions of all feedback.
    """
    rows = {name: _Rows(fields) for name, fields in TABLES.items()}
    begin = since.timestamp() if since else 0.0
    counts, parts = Counter[str](), iter(earlier)
    part: Iterable[str] | None = lines
    while part is not None:
        counts.update(_read(line, rows, begin, synthetic=synthetic) for line in part)
        part = next(parts, None) if _missing(rows) else None
    requests, before, feedback = (rows[name].table() for name in TABLES)
    # A log that was read twice, or joined from files that overlap, holds a request twice.
    once = np.sort(np.unique(requests["id"], return_index=True)[1])
    counts["repeated"] = len(requests) - len(once)
    requests = requests.where(once)
    counts["request"] = int(np.isfinite(requests["status"]).sum())
    counts["prediction"] = len(requests) - counts["request"]
    return Log(requests, before, feedback, +counts)


def _missing(rows: Mapping[str, _Rows]) -> bool:
    """Whether there is feedback whose prediction was not read."""
    return bool(set(rows["feedback"].ids).difference(rows["requests"].ids, rows["earlier"].ids))


def _read(line: str, rows: Mapping[str, _Rows], begin: float, *, synthetic: bool) -> str:
    """Keep what the line says; returns what it was."""
    kind, record = _kind(line)
    if kind not in REQUIRED:
        return kind
    if record.get("synthetic") and not synthetic:
        return "synthetic"
    try:
        time = datetime.fromisoformat(record["timestamp"]).timestamp()
        if any(record[name] is None for name in REQUIRED[kind]):
            return "malformed"
        if "predicted_class" in record and not 0 <= record["confidence"] <= 1:
            return "malformed"
        if time >= begin:
            rows["feedback" if kind == "feedback" else "requests"].add(time, record)
        elif "predicted_class" in record and time >= begin - LATE.total_seconds():
            rows["earlier"].add(time, record)
    except (KeyError, TypeError, ValueError, OverflowError):
        return "malformed"
    return kind if time >= begin else "earlier"


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
    return (message if message in tuple(REQUIRED) else "another's"), record
