"""Where log lines come from: a CloudWatch log group, a file of JSON lines, or standard input."""

import argparse
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
# Lambda's own lines, and the metrics, stay where they are.
OURS = '{ ($.message = "request") || ($.message = "prediction") || ($.message = "feedback") }'
PREDICTIONS = "{ $.confidence >= 0 }"
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class SourceError(Exception):
    """There is no log to read; the message names it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=_source, help="CloudWatch log group, file of JSON lines, or - for standard input"
    )
    parser.add_argument("--since", type=_since, help="30m, 12h, 7d, 2w or 2026-11-01; default: all that is there")
    parser.add_argument("--synthetic", action="store_true", help="with the lines of rehearsals and smoke tests")


def lines(source: str, since: datetime | None, late: timedelta = timedelta()) -> Iterator[str]:
    """Every line, in any order; of a log group those since then, and predictions that are earlier by up to `late`.

    Raises SourceError.
    """
    if source == "-":
        yield from sys.stdin
    elif Path(source).is_dir():
        raise SourceError(f"{source} is a folder; expected a file, a CloudWatch log group, or - for standard input")
    elif Path(source).exists():
        with Path(source).open(encoding="utf-8", errors="replace") as file:
            yield from file
    else:
        if since and late:
            yield from _log_group(source, PREDICTIONS, startTime=since - late, endTime=since)
        yield from _log_group(source, OURS, **({"startTime": since} if since else {}))


def _log_group(name: str, pattern: str, **times: datetime) -> Iterator[str]:
    limits = {limit: int(time.timestamp() * 1000) for limit, time in times.items()}
    try:
        client = Session().create_client("logs", config=RETRIES)
        pages = client.get_paginator("filter_log_events").paginate(logGroupName=name, filterPattern=pattern, **limits)
        for page in pages:
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


def _source(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("SOURCE is empty: expected a CloudWatch log group, a file of JSON lines, or -")
    return text


def _since(text: str) -> datetime:
    try:
        return moment(text, datetime.now(UTC))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
