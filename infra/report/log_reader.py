"""Read log lines into data frames: a million lines become a few arrays instead of a million dictionaries."""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import nan
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
from msgspec import DecodeError, Raw, Struct, ValidationError, defstruct, field
from msgspec.json import Decoder
from numpy.typing import NDArray
from pandas import DataFrame, Series

from lambda_app.signals import NUMERIC_FIELDS
from lambda_app.telemetry.fields import FEEDBACK, PREDICTION, REQUEST

Column = NDArray[Any]
FEEDBACK_WINDOW = timedelta(days=30)  # feedback is matched with predictions of up to this age
CHUNK = 10_000  # lines that are objects of up to 1 kB each until they become arrays
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


def _define_line(kind: str, fields: Fields) -> Any:
    """Return the type of a kind of line: the fields of its table. Decoding skips all other fields."""
    required, number = (fields.key, *REQUIRED[kind]), float | bool
    line: list[Any] = [("timestamp", datetime), ("synthetic", bool, False)]
    line += [(name, str) if name in required else (name, str | None, None) for name in (fields.key, *fields.texts)]
    line += [(name, number) if name in required else (name, number, nan) for name in fields.numbers]
    # gc=False: the garbage collector need not search a million lines, which hold no references to each other.
    return defstruct(kind, line, tag=kind, tag_field="message", kw_only=True, gc=False)


LINE = Decoder(
    _define_line(REQUEST, TABLES["requests"])
    | _define_line(PREDICTION, TABLES["requests"])
    | _define_line(FEEDBACK, TABLES["feedback"])
)


class _OtherLine(Struct):
    """A line that matches none of these types."""

    message: Any = None
    metrics: Raw = field(default=Raw(), name="_aws")


OTHER_LINE = Decoder(_OtherLine)


class _TableBuilder:
    """Collect the lines of one table.

    Ids are 64-bit hashes: among a million ids, a collision occurs in 3e-8 of all reports.
    """

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.ids, self.times = array("q"), array("d")
        self.lines: list[Any] = []
        self.parts: list[DataFrame] = []
        self.names: dict[str | None, str | None] = {}  # one copy of a class name that occurs a million times

    def append(self, time: float, line: Any) -> None:
        self.ids.append(hash(getattr(line, self.fields.key)))
        self.times.append(time)
        self.lines.append(line)
        if len(self.lines) == CHUNK:
            self._convert()

    def build(self) -> DataFrame:
        """Return the table, sorted by time."""
        self._convert()
        table = pd.concat(self.parts, ignore_index=True)
        table.insert(0, "id", np.frombuffer(self.ids, np.int64))
        table.insert(1, "time", np.frombuffer(self.times, np.float64))
        return table.sort_values("time", kind="stable", ignore_index=True)

    def _convert(self) -> None:
        """Turn the collected lines into columns."""
        columns: dict[str, Any] = {}
        for name in self.fields.numbers:
            columns[name] = np.fromiter(map(attrgetter(name), self.lines), np.float64)
        for name in self.fields.texts:
            texts = [self.names.setdefault(text, text) for text in map(attrgetter(name), self.lines)]
            columns[name] = Series(texts, dtype=object)
        self.parts.append(DataFrame(columns))
        self.lines.clear()


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
    requests, before, feedback = (builders.pop(name).build() for name in TABLES)
    # A log that was read twice, or joined from overlapping files, contains a request twice.
    unique = requests.drop_duplicates("id", ignore_index=True)
    counts["repeated"] = len(requests) - len(unique)
    counts[REQUEST] = int(unique["status"].count())
    counts[PREDICTION] = len(unique) - counts[REQUEST]
    return Log(unique, before, feedback, +counts)


def _has_unmatched_feedback(builders: Mapping[str, _TableBuilder]) -> bool:
    return bool(set(builders["feedback"].ids).difference(builders["requests"].ids, builders["earlier"].ids))


def _read_line(text: str, builders: Mapping[str, _TableBuilder], begin: float, *, synthetic: bool) -> str:
    """Append a line to its table and return its kind for the counts."""
    # Half of the lines are metrics; decoding these as `LINE` first would add a quarter to the time of reading.
    if text.startswith('{"_aws"'):
        return _classify_other(text)
    try:
        line = LINE.decode(text)
        time = line.timestamp.timestamp()
    except (DecodeError, UnicodeError, RecursionError, ValueError, OverflowError):
        return _classify_other(text)
    if line.synthetic and not synthetic:
        return "synthetic"
    kind = str(line.__struct_config__.tag)
    predicted = kind != FEEDBACK and line.predicted_class is not None
    if predicted and not 0 <= line.confidence <= 1:
        return "malformed"
    if time >= begin:
        builders["feedback" if kind == FEEDBACK else "requests"].append(time, line)
        return kind
    if predicted and time >= begin - FEEDBACK_WINDOW.total_seconds():
        builders["earlier"].append(time, line)
    return "earlier"


def _classify_other(text: str) -> str:
    """Return the kind of a line that is no valid line of `REQUIRED`."""
    try:
        line = OTHER_LINE.decode(text)
    except ValidationError:
        return "other"
    except (DecodeError, UnicodeError, RecursionError):
        return "not JSON"
    if line.metrics:
        return "metrics"
    return "malformed" if line.message in tuple(REQUIRED) else "other"
