"""Where lines come from: a file, standard input, and a CloudWatch that is moto's, over HTTP."""

import io
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from botocore.session import Session
from moto.core.exceptions import JsonRESTError
from moto.logs.models import LogsBackend

from infra.report.log_reader import REQUIRED
from infra.report.log_source import THREADS, SourceError, earlier, lines, moment
from tests.infra.report.lines import BEGIN, request

GROUP = "/aws/lambda/pet-classifier-dev"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def log_group(aws):
    """25 lines in two streams, of the last 25 minutes."""
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
def answers(monkeypatch):
    """CloudWatch gives ten lines a page, and refuses every other request as one too many; the answers, in order."""
    found, real = [], LogsBackend.filter_log_events

    def throttled(self, group, streams, start, end, _limit, *rest):
        if len(found) % 2 == 0:
            found.append("throttled")
            raise JsonRESTError("ThrottlingException", "Rate exceeded")
        page = real(self, group, streams, start, end, 10, *rest)
        found.append(len(page[0]))
        return page

    monkeypatch.setattr(LogsBackend, "filter_log_events", throttled)
    return found


@pytest.mark.slow
def test_a_log_group_is_read_to_its_end(log_group, answers):
    """Page by page, and again where it is throttled: every line comes once."""
    found = list(lines(GROUP, None))
    assert sorted(map(request, range(25))) == sorted(found)
    assert ["throttled", 10, "throttled", 10, "throttled", 5] == answers


def test_of_a_log_group_only_what_is_wanted_is_asked_for(log_group):
    """The lines since then, by CloudWatch's own clock; earlier ones, where feedback needs them."""
    since = log_group - timedelta(minutes=5, seconds=1)
    before = [line for day in earlier(GROUP, since, timedelta(minutes=10)) for line in day]
    assert (5, 10, 15) == (len([*lines(GROUP, since)]), len(before), len({*lines(GROUP, since), *before}))


def test_a_log_group_is_read_several_days_at_a_time(aws, monkeypatch):
    """Newest first, each line once: in four days, a line at each end of each, and one in its middle.

    No day is answered before all are asked for.
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
    all_asked, real = Barrier(THREADS, timeout=300), LogsBackend.filter_log_events

    def noted(self, *arguments):
        all_asked.wait()
        return real(self, *arguments)

    monkeypatch.setattr(LogsBackend, "filter_log_events", noted)
    expected = [[str(3 * n + k) for k in (1, 2, 3)] for n in reversed(range(THREADS))]
    assert expected == [list(day) for day in earlier(GROUP, since, since - begin)]


@pytest.mark.parametrize("source", ["-", __file__])
def test_other_sources_have_nothing_earlier(source):
    """They gave all their lines."""
    assert [] == list(earlier(source, NOW, timedelta(days=30)))


def test_of_a_log_group_only_the_functions_own_lines_are_asked_for(log_group, monkeypatch):
    """And of what is earlier, predictions alone; moto notes what was asked for, and answers with all there is."""
    asked, real = [], LogsBackend.filter_log_events

    def noted(self, group, streams, start, end, limit, token, pattern, interleaved):
        asked.append(pattern)
        return real(self, group, streams, start, end, limit, token, pattern, interleaved)

    monkeypatch.setattr(LogsBackend, "filter_log_events", noted)
    since = log_group - timedelta(minutes=5)
    assert (5, [20]) == (len([*lines(GROUP, since)]), [len([*day]) for day in earlier(GROUP, since, timedelta(days=1))])
    ours = " || ".join(f'($.message = "{kind}")' for kind in REQUIRED)
    assert [f"{{ {ours} }}", "{ $.confidence >= 0 }"] == asked


@pytest.mark.parametrize("days", [None, 1, 30])
def test_a_log_group_that_is_not_there_is_named(aws, days):
    """In one line, which also says that there is no such file; also where several days are asked for at a time."""
    since = days and datetime.now(UTC) - timedelta(days=days)
    with pytest.raises(SourceError, match=r"^/aws/lambda/no is no file, and .*ResourceNotFoundException.*$"):
        list(lines("/aws/lambda/no", since))


def test_without_credentials_the_error_says_so(aws, monkeypatch, tmp_path):
    """AWS's own words, in one line."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SourceError, match=r"^log\.jsonl is no file, and .*Unable to locate credentials$"):
        list(lines("log.jsonl", None))


def test_a_file_is_read_as_it_is(tmp_path):
    """Bytes that are not UTF-8 spoil their own line only."""
    (tmp_path / "log.jsonl").write_bytes(b"\xff\xfe\n" + request(1).encode() + b"\n")
    assert request(1) == list(lines(str(tmp_path / "log.jsonl"), BEGIN))[1].strip()


def test_a_folder_is_refused(tmp_path):
    """With what was expected."""
    with pytest.raises(SourceError, match=r"is a folder; expected a file, a CloudWatch log group, or -"):
        list(lines(str(tmp_path), None))


def test_standard_input(monkeypatch):
    """Named `-`."""
    monkeypatch.setattr("sys.stdin", io.StringIO("a\nb\n"))
    assert ["a\n", "b\n"] == list(lines("-", None))


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
def test_since(text, expected):
    """Before now, or a date."""
    assert expected == moment(text, NOW)


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7x", "99999d", "2026-13-01", "last week"])
def test_since_when_is_not_guessed(text):
    """The error names the text and what is understood."""
    with pytest.raises(ValueError, match=r"expected 30m, 12h, 7d, 2w, or a date such as 2026-11-01$"):
        moment(text, NOW)
