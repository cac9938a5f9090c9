"""Write the JSON log of the function and of the batch function: one object per line, to standard output.

The format is that of AWS Powertools' logger, whose imports would add 2.5 % to a cold start (infra/bench/RESULTS.md).
"""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from logging import DEBUG, ERROR, INFO, WARNING, getLevelNamesMapping
from typing import Any


class JsonLogger:
    """Write lines of at least one level. Times are RFC 3339. Fields that are None are left out.

    In Lambda's JSON format, Lambda keeps such lines as they are.
    """

    def __init__(self, service: str, level: str) -> None:
        self.service, self.level = service, getLevelNamesMapping()[level]

    def debug(self, message: str, extra: Mapping[str, Any] | None = None) -> None:
        self._log(DEBUG, "DEBUG", message, extra)

    def info(self, message: str, extra: Mapping[str, Any] | None = None) -> None:
        self._log(INFO, "INFO", message, extra)

    def warning(self, message: str, extra: Mapping[str, Any] | None = None) -> None:
        self._log(WARNING, "WARNING", message, extra)

    def error(self, message: str, extra: Mapping[str, Any] | None = None) -> None:
        self._log(ERROR, "ERROR", message, extra)

    def _log(self, level: int, name: str, message: str, extra: Mapping[str, Any] | None) -> None:
        if level < self.level:
            return
        timestamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"level": name, "message": message, "timestamp": timestamp, "service": self.service}
        write_line(line | {field: value for field, value in (extra or {}).items() if value is not None})


def write_line(line: Mapping[str, Any]) -> None:
    """Write one object as a line, with a single write, so that lines of several threads do not mix.

    The line is ASCII: no value, not even a lone surrogate of a client's JSON, can fail to be encoded.
    """
    sys.stdout.write(json.dumps(line, separators=(",", ":"), default=str) + "\n")
    sys.stdout.flush()
