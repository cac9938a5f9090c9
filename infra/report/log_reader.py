"""Read log lines into data frames: a million lines become a few arrays instead of a million dictionaries."""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
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
LINES_PER_PART = 10_000  # lines kept as objects, of up to 1 kB each, before they are converted to columns
REQUIRED = {  # fields without which a line is malformed, besides the time and the key
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
    # Predictions of up to FEEDBACK_WINDOW before the window; of a log group, only the days that the feedback requires.
    earlier: DataFrame
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


def _define_line_type(kind: str, fields: Fields) -> Any:
    """Return a msgspec type with the fields that a table keeps of a kind of line.

    Decoding skips all other fields. It fails if a required field is missing, or if a field has another type.
    """
    required, texts = (fields.key, *REQUIRED[kind]), (fields.key, *fields.texts)
    number = float | bool  # `cold_start` and `unknown` are true or false, and become 1 or 0
    definitions: list[Any] = [("timestamp", datetime), ("synthetic", bool, False)]
    definitions += [(name, str) if name in required else (name, str | None, None) for name in texts]
    definitions += [(name, number) if name in required else (name, number, nan) for name in fields.numbers]
    # gc=False: a line holds only texts, numbers and a time, so the garbage collector need not search it.
    return defstruct(kind, definitions, tag=kind, tag_field="message", kw_only=True, gc=False)


LINE_DECODER = Decoder(
    _define_line_type(REQUEST, TABLES["requests"])
    | _define_line_type(PREDICTION, TABLES["requests"])
    | _define_line_type(FEEDBACK, TABLES["feedback"])
)


class _OtherLine(Struct):
    """A JSON object that `LINE_DECODER` rejects."""

    message: Any = None
    metrics: Raw = field(default=Raw(), name="_aws")  # empty if the line has no metrics


OTHER_LINE_DECODER = Decoder(_OtherLine)
JSON_DECODER = Decoder(Raw)  # checks the syntax of a whole text, and converts nothing


class _TableBuilder:
    """Collect the lines of one table.

    Ids are 64-bit hashes: among a million ids, a collision occurs in 3e-8 of all reports.
    """

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.ids, self.times = array("q"), array("d")
        self.lines: list[Any] = []
        self.parts: list[DataFrame] = []
        self.unique: dict[str | None, str | None] = {}  # each text's only copy; a class name occurs a million times

    def append(self, time: float, line: Any) -> None:
        self.ids.append(hash(getattr(line, self.fields.key)))
        self.times.append(time)
        self.lines.append(line)
        if len(self.lines) == LINES_PER_PART:
            self._convert()

    def build(self) -> DataFrame:
        """Return the table, sorted by time."""
        self._convert()
        table = pd.concat(self.parts, ignore_index=True)
        table.insert(0, "id", np.frombuffer(self.ids, np.int64))
        table.insert(1, "time", np.frombuffer(self.times, np.float64))
        return table.sort_values("time", kind="stable", ignore_index=True)

    def _convert(self) -> None:
        """Convert the collected lines to columns."""
        columns: dict[str, Any] = {}
        for name in self.fields.numbers:
            columns[name] = np.fromiter(map(attrgetter(name), self.lines), np.float64)
        for name in self.fields.texts:
            texts = [self.unique.setdefault(text, text) for text in map(attrgetter(name), self.lines)]
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
    """Read the function's lines since a time, and the predictions before it that feedback may refer to.

    All other lines are only counted.
    `earlier` yields batches of older lines. They are read only until the prediction of every feedback is found.
    Lines of replays and smoke tests are skipped unless `synthetic` is set.
    """
    builders = {name: _TableBuilder(fields) for name, fields in TABLES.items()}
    begin = since.timestamp() if since else 0.0
    counts = Counter[str]()
    for batch in chain([lines], earlier):
        counts.update(_read_line(line, builders, begin, synthetic=synthetic) for line in batch)
        if not _has_unmatched_feedback(builders):
            break
    # `pop` frees the memory of a builder before the next table is built.
    requests, older, feedback = (builders.pop(name).build() for name in TABLES)
    # A log that was read twice, or joined from overlapping files, contains a request twice.
    unique = requests.drop_duplicates("id", ignore_index=True)
    counts["repeated"] = len(requests) - len(unique)
    counts[REQUEST] = int(unique["status"].count())
    counts[PREDICTION] = len(unique) - counts[REQUEST]
    return Log(unique, older, feedback, +counts)  # `+` drops counts of 0


def _has_unmatched_feedback(builders: Mapping[str, _TableBuilder]) -> bool:
    return bool(set(builders["feedback"].ids).difference(builders["requests"].ids, builders["earlier"].ids))


def _read_line(text: str, builders: Mapping[str, _TableBuilder], begin: float, *, synthetic: bool) -> str:
    """Append a line to its table and return its kind for the counts."""
    # Half of the lines are metrics; trying LINE_DECODER on them first would add a quarter to the time of reading.
    if text.startswith('{"_aws"'):
        return _classify_other(text)
    try:
        line = LINE_DECODER.decode(text)
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
    """Return the kind of a line of metrics, or of a line that `LINE_DECODER` rejects."""
    try:
        line = OTHER_LINE_DECODER.decode(text)
    except ValidationError:  # no object; msgspec stops at the first character, such as "[" in "[ERROR] …"
        return "other" if _is_json(text) else "not JSON"
    except (DecodeError, UnicodeError, RecursionError):
        return "not JSON"
    if line.metrics:
        return "metrics"
    # A tuple, because the message of some of Lambda's own lines is an object, which is not hashable.
    return "malformed" if line.message in tuple(REQUIRED) else "other"


def _is_json(text: str) -> bool:
    try:
        JSON_DECODER.decode(text)
    except (DecodeError, UnicodeError, RecursionError):
        return False
    return True
