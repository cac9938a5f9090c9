"""Test the journal: what it refuses, and how a replay resumes with it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from infra.emulator.serve import background
from infra.replay import __main__ as replay
from infra.replay import post_deploy_evaluation
from infra.replay.journal import read
from tests.infra.replay.replay_commands import collect, write_photo
from tests.support import ROOT
from tests.support.commands import run, run_refused
from tests.support.waiting import DEADLINE_S, wait_for_output, wait_until


def test_journal_of_another_service_is_refused(app: ASGIApp, url: str, photos: Path, tmp_path: Path, capsys) -> None:
    """The journal of another URL is refused and remains unchanged."""
    journal = tmp_path / "replay.jsonl"
    assert 0 == collect(url, photos, journal)
    before = journal.read_bytes()
    with background(app) as another:
        message = run_refused(replay.main, [another, str(photos), "--output", str(journal)], capsys)
    assert f"was sent to {url} (" in message
    assert before == journal.read_bytes()


@pytest.fixture
def held(app: ASGIApp) -> Iterator[tuple[str, threading.Semaphore]]:
    """Yield the URL of a service, and the semaphore that releases its answers to photos."""
    allowed = threading.Semaphore(0)

    async def answer(scope, receive, send) -> None:
        if scope["type"] == "http" and scope["path"] == "/predict":
            await asyncio.to_thread(allowed.acquire)
        await app(scope, receive, send)

    with background(answer) as url:
        yield url, allowed
        allowed.release(1000)  # unblocks all waiting requests


@pytest.mark.process
def test_interrupted_replay_resumes(held: tuple[str, threading.Semaphore], tmp_path: Path, encode) -> None:
    """After Ctrl-C, the same command keeps the journal and sends the photos without a line in it."""
    url, allowed = held
    names = [f"cat/{number}.jpg" for number in range(40)]
    for number, name in enumerate(names):
        write_photo(tmp_path / "photos" / name, encode((255 - number, 0, 0)))
    journal = tmp_path / "replay.jsonl"
    command = [sys.executable, "-m", "infra.replay", url, str(tmp_path / "photos")]
    command += ["--output", str(journal), "--timeout", str(DEADLINE_S)]
    allowed.release(8)  # the feedback of some of them may wait for a connection
    output = tmp_path / "output"
    with output.open("w") as log, subprocess.Popen(command, cwd=ROOT, stderr=log) as first:
        wait_until(lambda: first.poll() is not None or (journal.exists() and journal.read_bytes().endswith(b"\n")))
        first.send_signal(signal.SIGINT)
        wait_for_output(first, output, "(waiting for the requests in flight)")
        allowed.release(100)  # enough for the second run, too
    stderr = output.read_text()
    begun = journal.read_bytes()
    assert (130, "Traceback" in stderr, "run the same command again to resume" in stderr) == (
        first.returncode,
        False,
        True,
    )
    answered = [name for name, answer in read(journal).items() if answer.is_done]
    assert 0 < len(answered) < 40
    run(*command)
    assert journal.read_bytes().startswith(begun)
    added = journal.read_bytes().removeprefix(begun).splitlines()
    assert sorted(set(names) - set(answered)) == sorted(json.loads(line)["photo"] for line in added)


def test_incomplete_last_line_is_dropped(url: str, photos: Path, tmp_path: Path) -> None:
    """If the last line is incomplete, only its photo is sent again."""
    journal = tmp_path / "replay.jsonl"
    collect(url, photos, journal)
    *whole, last = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([*whole, last[:40]]))
    assert 5 == len(read(journal))
    assert 0 == collect(url, photos, journal)
    *kept, again = journal.read_text().splitlines(keepends=True)
    assert (whole, json.loads(last)["photo"]) == (kept, json.loads(again)["photo"])


@pytest.mark.process
def test_full_disk_is_reported(url: str, photos: Path, tmp_path: Path) -> None:
    """The replay prints one line, and earlier answers remain in the journal."""
    journal = tmp_path / "replay.jsonl"
    command = [sys.executable, "-m", "infra.replay", url, str(photos), "--output", str(journal)]
    limited = ["prlimit", "--fsize=500", *command]
    # The file of coverage.py would exceed the limit.
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(limited, cwd=ROOT, env=unmeasured, check=False, capture_output=True, text=True)
    assert 2 == done.returncode
    assert done.stderr.splitlines()[-1].endswith(f"{journal}: File too large; expected a file that can be written")
    assert "Traceback" not in done.stderr
    assert 1 == len(read(journal))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}\n", "line 1 photo: Field required"),
        ('{"photo": "1.jpg"\n', "line 1: Invalid JSON: "),
        ("a letter", "its last line begins with b'a letter'"),
    ],
)
def test_other_files_are_no_journal(url: str, photos: Path, tmp_path: Path, capsys, text: str, problem: str) -> None:
    """A file that is not a journal is neither evaluated nor overwritten."""
    journal = tmp_path / "replay.jsonl"
    journal.write_text(text)
    for main, before in (
        (post_deploy_evaluation.main, []),
        (replay.main, [url, str(photos), "--output"]),
    ):
        message = run_refused(main, [*before, str(journal)], capsys)
        assert f"error: {journal}: {problem}" in message
        assert message.endswith("; expected a journal that infra.replay wrote")
    assert text == journal.read_text()


def test_missing_journal_is_named(tmp_path: Path, capsys) -> None:
    """The error names the file."""
    missing = run_refused(post_deploy_evaluation.main, [str(tmp_path / "none")], capsys)
    assert missing.endswith(
        f"{tmp_path / 'none'}: No such file or directory; expected a journal that infra.replay wrote"
    )
