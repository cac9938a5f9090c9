"""Stream log lines from a CloudWatch log group, a file of JSON lines, or standard input."""

import argparse
import re
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from lambda_app.telemetry.fields import FEEDBACK, PREDICTION, REQUEST

# CloudWatch Logs throttles FilterLogEvents at 5 to 25 requests per second, so retry adaptively. README.md has the
# durations.
THREADS = 4
RETRIES = Config(retries={"mode": "adaptive", "max_attempts": 10})
# These filters exclude Lambda's own lines and the metrics.
REPORT_LINES = "{ " + " || ".join(f'($.message = "{name}")' for name in (REQUEST, PREDICTION, FEEDBACK)) + " }"
PREDICTIONS = "{ $.confidence >= 0 }"
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class LogSourceError(Exception):
    """The source cannot be read. The message names it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=_parse_source, help="CloudWatch log group, file of JSON lines, or - for standard input"
    )
    parser.add_argument("--since", type=parse_moment, help="30m, 12h, 7d, 2w or 2026-11-01; default: the whole log")
    parser.add_argument("--synthetic", action="store_true", help="include the lines of replays and smoke tests")


def stream_lines(source: str, since: datetime | None) -> Iterator[str]:
    """Yield all lines in any order, or those since a time if the source is a log group. Raise `LogSourceError`."""
    if source == "-":
        yield from (line.decode(errors="replace") for line in sys.stdin.buffer)
    elif Path(source).is_dir():
        raise LogSourceError(f"{source} is a folder; expected a file, a CloudWatch log group, or - for standard input")
    elif Path(source).exists():
        with Path(source).open(encoding="utf-8", errors="replace") as file:
            yield from file
    else:
        spans = _split_into_days(since, datetime.now(UTC)) if since else [{}]
        yield from chain.from_iterable(_filter_log_group(source, REPORT_LINES, spans))


def stream_earlier(source: str, since: datetime | None, window: timedelta) -> Generator[Iterable[str], None, None]:
    """Yield the predictions of a log group in the `window` before a time, one day at a time, newest first.

    No request is sent before the first day is consumed. `close` cancels the days whose reading has not started. Other
    sources yield nothing, because `stream_lines` has already read all their lines. Raise `LogSourceError`.
    """
    if since and source != "-" and not Path(source).exists():
        yield from _filter_log_group(source, PREDICTIONS, _split_into_days(since - window, since))


def _split_into_days(begin: datetime, end: datetime) -> list[dict[str, int]]:
    """Return the days of [begin, end), newest first, as CloudWatch expects them: milliseconds, both ends included."""
    first, last, day = (int(1000 * seconds) for seconds in (begin.timestamp(), end.timestamp(), 86_400))
    return [{"startTime": max(first, at - day), "endTime": at - 1} for at in range(last, first, -day)]


def _filter_log_group(name: str, pattern: str, spans: Sequence[dict[str, int]]) -> Iterator[Iterable[str]]:
    """Yield the matching lines of each time span, in order. Several spans are fetched in parallel; one is streamed."""
    with _source_errors(name):
        pages = Session().create_client("logs", config=RETRIES).get_paginator("filter_log_events")

    def stream_span(span: dict[str, int]) -> Iterator[str]:
        with _source_errors(name):
            for page in pages.paginate(logGroupName=name, filterPattern=pattern, **span):
                yield from (event["message"] for event in page["events"])

    if len(spans) == 1:
        yield stream_span(spans[0])
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            yield from pool.map(lambda span: list(stream_span(span)), spans)


@contextmanager
def _source_errors(group: str) -> Iterator[None]:
    """Convert botocore's errors to `LogSourceError`."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise LogSourceError(f"{group} is not a file, and CloudWatch cannot read it as a log group: {error}") from None


def parse_moment(text: str, now: datetime | None = None) -> datetime:
    """Return the time that `30m`, `12h`, `7d`, `2w` before now or an ISO 8601 date or time means; UTC by default.

    Raise `ArgumentTypeError` for other texts.
    """
    if match := re.fullmatch(r"(\d{1,4})([mhdw])", text):
        return (now or datetime.now(UTC)) - timedelta(**{UNITS[match[2]]: int(match[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        expected = "30m, 12h, 7d, 2w, or a date such as 2026-11-01"
        raise argparse.ArgumentTypeError(f"{text!r}: expected {expected}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parse_source(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("SOURCE is empty: expected a CloudWatch log group, a file of JSON lines, or -")
    return text
