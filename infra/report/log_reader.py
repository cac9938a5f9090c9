"""Read log lines into data frames: a million lines become a few arrays instead of a million dictionaries."""

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
from pandas import DataFrame, Series

from lambda_app.signals import NUMERIC_FIELDS
from lambda_app.telemetry.fields import FEEDBACK, PREDICTION, REQUEST

Column = NDArray[Any]
FEEDBACK_WINDOW = timedelta(days=30)  # feedback is matched with predictions of up to this age
REQUIRED = {
    REQUEST: ("service", "model_version", "status", "total_ms", "cold_start"),
    PREDICTION: ("service", "model_version", "predicted_class", "confidence", "unknown"),
    FEEDBACK: ("label",),
}


@dataclass(frozen=True)
class Log:
    """The log lines of a time window, sorted by `time` (seconds since 1970). Missing values are NaN or None.

    Duplicate requests and predictions are removed; feedback is kept as it is.
    """

    requests: DataFrame  # requests, and the predictions of batches, which have no status
    earlier: DataFrame  # predictions before the window; only as many as matching the feedback requires
    feedback: DataFrame
    counts: Counter[str]  # number of lines by kind


@dataclass(frozen=True)
class Fields:
    """The fields of a line that a table keeps besides the time."""

    key: str  # field whose hash becomes the id
    texts: tuple[str, ...]
    numbers: tuple[str, ...] = ()


TABLES = {
    "requests": Fields(
        "request_id",
        ("service", "model_version", "error_code", "predicted_class"),
        ("status", "total_ms", "cold_start", *NUMERIC_FIELDS),
    ),
    "earlier": Fields("request_id", ("model_version", "predicted_class"), ("confidence",)),
    "feedback": Fields("feedback_for", ("label",)),
}


class _TableBuilder:
    """Collect the lines of one table.

    Ids are 64-bit hashes: among a million ids, a collision occurs in 3e-8 of all reports.
    """

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.ids = array("q")
        self.numbers = {name: array("d") for name in ("time", *fields.numbers)}
        self.texts: dict[str, list[str | None]] = {name: [] for name in fields.texts}

    def append(self, time: float, record: Mapping[str, Any]) -> None:
        """Append a line, or raise KeyError, TypeError, ValueError or OverflowError and append nothing."""
        key, get = hash(str(record[self.fields.key])), record.get
        numbers = [time, *(float(get(name, nan)) for name in self.fields.numbers)]
        # Interning keeps one copy of a class name that occurs a million times.
        texts = [None if text is None else sys.intern(text) for text in map(get, self.fields.texts)]
        self.ids.append(key)
        for column, number in zip(self.numbers.values(), numbers, strict=True):
            column.append(number)
        for names, text in zip(self.texts.values(), texts, strict=True):
            names.append(text)

    def build(self) -> DataFrame:
        """Return the table, sorted by time."""
        columns: dict[str, Any] = {"id": np.frombuffer(self.ids, np.int64)}
        columns |= {name: np.frombuffer(column, np.float64) for name, column in self.numbers.items()}
        columns |= {name: Series(texts, dtype=object) for name, texts in self.texts.items()}
        return DataFrame(columns).sort_values("time", kind="stable", ignore_index=True)


def read(
    lines: Iterable[str],
    since: datetime | None = None,
    earlier: Iterable[Iterable[str]] = (),
    *,
    synthetic: bool = False,
) -> Log:
    """Read the lines that the function has written since a time; count and skip all others.

    `earlier` yields batches of older lines. They are read only until the prediction of every feedback is found.
    Lines of replays and smoke tests are skipped unless `synthetic` is set.
    """
    builders = {name: _TableBuilder(fields) for name, fields in TABLES.items()}
    begin = since.timestamp() if since else 0.0
    counts, batches = Counter[str](), iter(earlier)
    batch: Iterable[str] | None = lines
    while batch is not None:
        counts.update(_read_line(line, builders, begin, synthetic=synthetic) for line in batch)
        batch = next(batches, None) if _has_unmatched_feedback(builders) else None
    requests, before, feedback = (builders[name].build() for name in TABLES)
    # A log that was read twice, or joined from overlapping files, contains a request twice.
    unique = requests.drop_duplicates("id", ignore_index=True)
    counts["repeated"] = len(requests) - len(unique)
    counts[REQUEST] = int(unique["status"].count())
    counts[PREDICTION] = len(unique) - counts[REQUEST]
    return Log(unique, before, feedback, +counts)


def _has_unmatched_feedback(builders: Mapping[str, _TableBuilder]) -> bool:
    return bool(set(builders["feedback"].ids).difference(builders["requests"].ids, builders["earlier"].ids))


def _read_line(line: str, builders: Mapping[str, _TableBuilder], begin: float, *, synthetic: bool) -> str:
    """Append a line to its table and return its kind for the counts."""
    kind, record = _parse(line)
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
            builders["feedback" if kind == FEEDBACK else "requests"].append(time, record)
        elif "predicted_class" in record and time >= begin - FEEDBACK_WINDOW.total_seconds():
            builders["earlier"].append(time, record)
    except (KeyError, TypeError, ValueError, OverflowError):
        return "malformed"
    return kind if time >= begin else "earlier"


def _parse(line: str) -> tuple[str, Mapping[str, Any]]:
    """Return the kind of a line, and its fields."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return "not JSON", {}
    if not isinstance(record, dict):
        return "other", {}
    if "_aws" in record:
        return "metrics", record
    message = record.get("message")  # an object in some of Lambda's own lines, which is not hashable
    return (message if message in tuple(REQUIRED) else "other"), record
