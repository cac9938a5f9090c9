"""Test log sources: a file, standard input, and a CloudWatch API that moto serves over HTTP."""

import io
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from threading import Barrier, Event

import pytest
from botocore.session import Session
from moto.core.exceptions import JsonRESTError
from moto.logs.models import LogsBackend

from infra.report import log_source
from infra.report.log_reader import REQUIRED
from infra.report.log_source import THREADS, LogSourceError, parse_moment, stream_earlier, stream_lines
from tests.infra.report.lines import BEGIN, request
from tests.support.waiting import DEADLINE_S

GROUP = "/aws/lambda/pet-classifier-dev"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def log_group(aws):
    """Create a log group with 25 lines in two streams, one line per minute up to now."""
    logs, now = Session().create_client("logs"), datetime.now(UTC)
    logs.create_log_group(logGroupName=GROUP)
    for stream in ("one", "two"):
        logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
    for number in range(25):
        when = int((now - timedelta(minutes=25 - number)).timestamp() * 1000)
        event = {"timestamp": when, "message": request(number)}
        logs.put_log_events(logGroupName=GROUP, logStreamName=("one", "two")[number % 2], logEvents=[event])
    return now


@pytest.fixture
def responses(monkeypatch):
    """Limit pages to ten lines and throttle every other request. Return the recorded responses."""
    recorded, real = [], LogsBackend.filter_log_events

    def throttled(self, group, streams, start, end, _limit, *rest):
        if len(recorded) % 2 == 0:
            recorded.append("throttled")
            raise JsonRESTError("ThrottlingException", "Rate exceeded")
        page = real(self, group, streams, start, end, 10, *rest)
        recorded.append(len(page[0]))
        return page

    monkeypatch.setattr(LogsBackend, "filter_log_events", throttled)
    return recorded


@pytest.mark.slow
def test_log_group_is_read_completely(log_group, responses):
    """The reader follows all pages and retries throttled requests, and yields every line once."""
    found = list(stream_lines(GROUP, None))
    assert sorted(map(request, range(25))) == sorted(found)
    assert ["throttled", 10, "throttled", 10, "throttled", 5] == responses


def test_log_group_is_read_by_time(log_group):
    """CloudWatch filters the lines since a time, and the earlier ones."""
    since = log_group - timedelta(minutes=5, seconds=1)
    before = [line for day in stream_earlier(GROUP, since, timedelta(minutes=10)) for line in day]
    assert (5, 10, 15) == (len([*stream_lines(GROUP, since)]), len(before), len({*stream_lines(GROUP, since), *before}))


def test_log_group_days_are_fetched_in_parallel(aws, monkeypatch):
    """Each day yields its lines once, newest day first.

    Each of four days has a line at either end and one in the middle. The server answers once all days are requested.
    """
    logs, since = Session().create_client("logs"), datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="one")
    begin, day, instant = since - THREADS * timedelta(days=1), timedelta(days=1), timedelta(milliseconds=1)
    times = [begin + n * day + at for n in range(THREADS) for at in (timedelta(), day / 2, day - instant)]
    events = [
        {"timestamp": int(time.timestamp() * 1000), "message": str(n)}
        for n, time in enumerate([begin - instant, *times, since])
    ]
    logs.put_log_events(logGroupName=GROUP, logStreamName="one", logEvents=events)
    all_requested, real = Barrier(THREADS, timeout=DEADLINE_S), LogsBackend.filter_log_events

    def record(self, *arguments):
        all_requested.wait()
        return real(self, *arguments)

    monkeypatch.setattr(LogsBackend, "filter_log_events", record)
    expected = [[str(3 * n + k) for k in (1, 2, 3)] for n in reversed(range(THREADS))]
    assert expected == [list(day) for day in stream_earlier(GROUP, since, since - begin)]


@pytest.mark.parametrize("source", ["-", __file__])
def test_other_sources_have_no_earlier_lines(source):
    """A file and standard input yield all their lines at once."""
    assert [] == list(stream_earlier(source, NOW, timedelta(days=30)))


def test_log_group_is_filtered_by_message(log_group, monkeypatch):
    """Requests filter for the lines of the report, and for predictions before it; moto ignores the filter."""
    patterns, real = [], LogsBackend.filter_log_events

    def record(self, group, streams, start, end, limit, token, pattern, interleaved):
        patterns.append(pattern)
        return real(self, group, streams, start, end, limit, token, pattern, interleaved)

    monkeypatch.setattr(LogsBackend, "filter_log_events", record)
    since = log_group - timedelta(minutes=5)
    assert (5, [20]) == (
        len([*stream_lines(GROUP, since)]),
        [len([*day]) for day in stream_earlier(GROUP, since, timedelta(days=1))],
    )
    messages = " || ".join(f'($.message = "{kind}")' for kind in REQUIRED)
    assert [f"{{ {messages} }}", "{ $.confidence >= 0 }"] == patterns


@pytest.mark.parametrize("days", [None, 1, 30])
def test_missing_log_group_is_named(aws, days):
    """The one-line error names the source, also if several days are fetched in parallel."""
    since = days and datetime.now(UTC) - timedelta(days=days)
    with pytest.raises(LogSourceError, match=r"^/aws/lambda/no is not a file, and .*ResourceNotFoundException.*$"):
        list(stream_lines("/aws/lambda/no", since))


def test_missing_credentials_are_reported(aws, monkeypatch, tmp_path):
    """The one-line error ends with the message of AWS."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(LogSourceError, match=r"^log\.jsonl is not a file, and .*Unable to locate credentials$"):
        list(stream_lines("log.jsonl", None))


def test_file_may_contain_invalid_utf8(tmp_path):
    """Bytes that are not UTF-8 affect only their own line."""
    (tmp_path / "log.jsonl").write_bytes(b"\xff\xfe\n" + request(1).encode() + b"\n")
    assert request(1) == list(stream_lines(str(tmp_path / "log.jsonl"), BEGIN))[1].strip()


def test_folder_is_refused(tmp_path):
    """The error says what was expected."""
    with pytest.raises(LogSourceError, match=r"is a folder; expected a file, a CloudWatch log group, or -"):
        list(stream_lines(str(tmp_path), None))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("12h", NOW - timedelta(hours=12)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T02:00:00+02:00", datetime(2026, 11, 1, tzinfo=UTC)),
    ],
)
def test_moment_is_parsed(text, expected):
    """A moment is a duration before now, or a date."""
    assert expected == parse_moment(text, NOW)


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7x", "99999d", "2026-13-01", "last week"])
def test_invalid_moment_is_refused(text):
    """The error names the text and the accepted formats."""
    with pytest.raises(ArgumentTypeError, match=r"expected 30m, 12h, 7d, 2w, or a date such as 2026-11-01$"):
        parse_moment(text, NOW)


def test_standard_input_may_contain_invalid_utf8(monkeypatch):
    """Bytes that are not UTF-8 affect only their own line, as in a file."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\na\n"), encoding="utf-8"))
    assert "a\n" == list(stream_lines("-", None))[1]


class DaysOfTheLog:
    """A log group that answers the newest day at once, and all others only after the executor shuts down."""

    def __init__(self):
        self.requested, self.shut_down = [], Event()

    def create_client(self, _service, **_options):
        return self

    def get_paginator(self, _operation):
        return self

    def paginate(self, **span):
        self.requested.append(span)
        if span["endTime"] < NOW.timestamp() * 1000 - 1:
            self.shut_down.wait()
        return [{"events": []}]


def test_closed_stream_requests_no_further_days(monkeypatch):
    """Only the days that threads have already started are requested."""
    days = DaysOfTheLog()

    class Pool(log_source.ThreadPoolExecutor):
        def shutdown(self, *arguments, **options):
            days.shut_down.set()
            super().shutdown(*arguments, **options)

    monkeypatch.setattr(log_source, "Session", lambda: days)
    monkeypatch.setattr(log_source, "ThreadPoolExecutor", Pool)
    earlier = stream_earlier(GROUP, NOW, timedelta(days=30))
    next(earlier)
    earlier.close()
    assert len(days.requested) <= 1 + THREADS
