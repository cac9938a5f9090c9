"""Where log lines come from: a CloudWatch log group, a file of JSON lines, or standard input."""

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

# A log group answers 5 to 25 such requests a second, by region, and throttles the rest: wait, and ask again.
RETRIES = Config(retries={"mode": "adaptive", "max_attempts": 10})
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class SourceError(Exception):
    """There is no log to read; the message names it."""


def lines(source: str, since: datetime | None) -> Iterator[str]:
    """Every line, in any order; of a log group those since then. Raises SourceError."""
    if source == "-":
        yield from sys.stdin
    elif Path(source).is_dir():
        raise SourceError(f"{source} is a folder; expected a file, a CloudWatch log group, or - for standard input")
    elif Path(source).exists():
        with Path(source).open(encoding="utf-8", errors="replace") as file:
            yield from file
    else:
        yield from _log_group(source, since)


def _log_group(name: str, since: datetime | None) -> Iterator[str]:
    start = {} if since is None else {"startTime": int(since.timestamp() * 1000)}
    try:
        client = Session().create_client("logs", config=RETRIES)
        for page in client.get_paginator("filter_log_events").paginate(logGroupName=name, **start):
            yield from (event["message"] for event in page["events"])
    except (BotoCoreError, ClientError) as error:
        raise SourceError(f"{name} is no file, and as a log group CloudWatch does not give it: {error}") from None


def moment(text: str, now: datetime) -> datetime:
    """`7d`, `12h`, `30m` or `2w` before now, or a date or time of ISO 8601, in UTC unless it says otherwise."""
    if match := re.fullmatch(r"(\d{1,4})([mhdw])", text):
        return now - timedelta(**{UNITS[match[2]]: int(match[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r}: expected 30m, 12h, 7d, 2w, or a date such as 2026-11-01") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
