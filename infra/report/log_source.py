"""Where log lines come from: a CloudWatch log group, a file of JSON lines, or standard input."""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

# A log group answers 5 to 25 such requests a second, by region, and throttles the rest: wait, and ask again. An answer
# is a megabyte at most, and takes half a second to a whole one. Of a million requests a week, which are 650 bytes each,
# a week and the thirty days before it are 3,450 answers: one after the other half an hour to an hour, four at a time 7
# to 14 minutes (computed, not measured).
THREADS = 4
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
        yield from chain.from_iterable(_log_group(source, OURS, _days(since, datetime.now(UTC)) if since else [{}]))


def earlier(source: str, since: datetime | None, late: timedelta) -> Iterator[Iterable[str]]:
    """A log group's predictions from up to `late` before then, a day at a time, newest first; nothing is asked for
    before the first is. Other sources have given all their lines. Raises SourceError.
    """
    if since and source != "-" and not Path(source).exists():
        yield from _log_group(source, PREDICTIONS, _days(since - late, since))


def _days(begin: datetime, end: datetime) -> list[dict[str, int]]:
    """From begin to just before end, newest first, as CloudWatch names and counts it: milliseconds, both included."""
    first, last, day = (int(1000 * seconds) for seconds in (begin.timestamp(), end.timestamp(), 86_400))
    return [{"startTime": max(first, at - day), "endTime": at - 1} for at in range(last, first, -day)]


def _log_group(name: str, pattern: str, spans: Sequence[dict[str, int]]) -> Iterator[Iterable[str]]:
    """The lines of each span of time, in their order, some of them asked for at a time; those of a single one, as they
    come.
    """
    with _named(name):
        pages = Session().create_client("logs", config=RETRIES).get_paginator("filter_log_events")

    def told(span: dict[str, int]) -> Iterator[str]:
        with _named(name):
            for page in pages.paginate(logGroupName=name, filterPattern=pattern, **span):
                yield from (event["message"] for event in page["events"])

    if len(spans) == 1:
        yield told(spans[0])
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            yield from pool.map(lambda span: list(told(span)), spans)


@contextmanager
def _named(group: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise SourceError(f"{group} is no file, and as a log group CloudWatch does not give it: {error}") from None


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
