"""Tests of the replay: the requests, their pace, the journal, and the evaluation."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp

from infra.emulator.event import HttpRequest
from infra.emulator.response import HttpResponse
from infra.emulator.serve import background
from infra.replay import __main__ as replay
from infra.replay import post_deploy_evaluation
from infra.replay.journal import Answer, read
from infra.replay.labeled_photos import Photo, find_photos
from infra.replay.sender import Pace, Replay, is_selected
from infra.smoke.url import UrlClient
from lambda_app.app import create_app
from lambda_app.settings import Settings
from tests.infra.smoke.faulty_services import changed, edited, hanging, page
from tests.support import ROOT
from tests.support.virtual_time import VirtualTimeLoop
from tests.support.waiting import wait_for_output, wait_until

MAX_BYTES = 20_000


@pytest.fixture(scope="module")
def app(tiny_classifier) -> ASGIApp:
    return create_app(tiny_classifier, Settings(max_image_bytes=MAX_BYTES, log_level="ERROR"))


@pytest.fixture
def photos(tmp_path: Path, encode) -> Path:
    """Create photos of three cats, two dogs, and a dog that the tiny model classifies as a cat."""
    folder = tmp_path / "photos"
    for name, color in [("Cat/1", "red"), ("Cat/2", "#e00000"), ("Cat/3", "#d00000"), ("dog/1", "blue")]:
        write_photo(folder / f"{name}.jpg", encode(color))
    write_photo(folder / "dog/2.PNG", encode("#0000e0", image_format="PNG"))
    write_photo(folder / "dog/3.jpg", encode("#c00000"))
    return folder


def write_photo(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def collect(url: str, photos: Path, journal: Path, *options: str) -> int:
    return replay.main([url, str(photos), "--output", str(journal), "--timeout", "600", *options])


def run_evaluation(journal: Path, *options: str) -> tuple[int, dict]:
    output = journal.with_suffix(".json")
    code = post_deploy_evaluation.main([str(journal), "--json", str(output), *options])
    return code, json.loads(output.read_text())


def run_refused(arguments: list[str], capsys: pytest.CaptureFixture, main=replay.main) -> str:
    """Return the last line of a command that exits with 2."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert 2 == stopped.value.code
    return capsys.readouterr().err.splitlines()[-1]


def test_journal_has_every_photo(url: str, photos: Path, tmp_path: Path, capsys) -> None:
    """Each answer has the true label, the prediction and the status of the feedback."""
    assert 0 == collect(url, photos, tmp_path / "replay.jsonl")
    answers = read(tmp_path / "replay.jsonl")
    assert {
        "Cat/1.jpg": ("cat", "cat"),
        "Cat/2.jpg": ("cat", "cat"),
        "Cat/3.jpg": ("cat", "cat"),
        "dog/1.jpg": ("dog", "dog"),
        "dog/2.PNG": ("dog", "dog"),
        "dog/3.jpg": ("dog", "cat"),
    } == {name: (answer.label, answer.predicted_class) for name, answer in answers.items()}
    assert {(200, 200, None)} == {(a.status, a.feedback_status, a.error_code) for a in answers.values()}
    assert "6 photos, 6 classified, 6 of 6 feedback requests accepted" in capsys.readouterr().out.splitlines()


def test_feedback_refers_to_the_prediction(app: ASGIApp, photos: Path, tmp_path: Path, capsys) -> None:
    """The feedback has the request id of the prediction and the label of the folder."""
    sent = {}

    def note(path: str, response: HttpResponse) -> HttpResponse:
        if path == "/feedback":
            body = json.loads(response.body)
            sent[body["request_id"]] = body["label"]
        return response

    with background(changed(app, note)) as url:
        collect(url, photos, tmp_path / "replay.jsonl")
    assert sent == {answer.request_id: answer.label for answer in read(tmp_path / "replay.jsonl").values()}


def test_archive_equals_its_folder(photos: Path, tmp_path: Path) -> None:
    """Both yield the same photos in the same order, with mixed classes."""
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in photos.rglob("*"):
            archive.write(path, path.relative_to(photos))
    unpacked, packed = (
        [(p.name, p.label, p.read()) for p in find_photos(path)] for path in (photos, tmp_path / "photos.zip")
    )
    assert unpacked == packed
    assert sorted(unpacked) != unpacked


def test_other_files_are_skipped(photos: Path) -> None:
    """Hidden files, archiver metadata and files without an image extension are skipped."""
    expected = {photo.name for photo in find_photos(photos)}
    for name in (".hidden/1.jpg", "cat/.1.jpg", "__MACOSX/cat/1.jpg", "cat/Thumbs.db", "cat/notes.txt"):
        write_photo(photos / name, b"no photo")
    assert expected == {photo.name for photo in find_photos(photos)}


def test_refused_photos_are_final(url: str, photos: Path, tmp_path: Path, encode, capsys) -> None:
    """Each has its error code and no feedback; the replay succeeds, and the next run does not send them again."""
    write_photo(photos / "cat/big.jpg", encode("red") + bytes(MAX_BYTES))
    write_photo(photos / "cat/damaged.jpg", encode("red")[:400])
    write_photo(photos / "cat/empty.jpg", b"")
    write_photo(photos / "cat/text.jpg", b"text")
    journal = tmp_path / "replay.jsonl"
    assert 0 == collect(url, photos, journal)
    assert {
        "cat/big.jpg": (413, "too_large"),
        "cat/damaged.jpg": (422, "damaged_image"),
        "cat/empty.jpg": (400, "no_file"),
        "cat/text.jpg": (415, "unsupported_image"),
    } == {name: (a.status, a.error_code) for name, a in read(journal).items() if a.feedback_status is None}
    written = journal.read_bytes()
    assert (0, written) == (collect(url, photos, journal), journal.read_bytes())


def test_unknown_label_is_refused(url: str, photos: Path, tmp_path: Path, capsys) -> None:
    """Nothing is sent, and the error names the photo, its label and the classes of the model."""
    write_photo(photos / "wolf/1.jpg", b"a wolf")
    journal = tmp_path / "replay.jsonl"
    message = run_refused([url, str(photos), "--output", str(journal)], capsys)
    assert message.endswith("wolf/1.jpg: label 'wolf', expected the folder name to be one of cat, dog")
    assert b"" == journal.read_bytes()


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (lambda answer: page(answer, '{"Message": "Too many"}', 429, "application/json"), 429, "http_429"),
        (lambda answer: page(answer, "<html>Bad gateway</html>", 502), 502, "http_502"),
        (lambda answer: page(answer, "<html>Please log in</html>"), 200, "unexpected_answer"),
        (lambda answer: edited(answer, lambda body: body.pop("request_id")), 200, "unexpected_answer"),
    ],
)
def test_failed_photos_are_sent_again(
    app: ASGIApp, photos: Path, tmp_path: Path, capsys, fault, status: int, code: str
) -> None:
    """The replay exits with 1 and journals the reason; the next run sends only those photos."""
    failing = iter([True, False, True])

    def faulty(path: str, response: HttpResponse) -> HttpResponse:
        return fault(response) if path == "/predict" and next(failing, False) else response

    journal = tmp_path / "replay.jsonl"
    with background(changed(app, faulty)) as broken:
        assert 1 == collect(broken, photos, journal)
        answers = read(journal).items()
        failed = {name for name, answer in answers if (status, code) == (answer.status, answer.error_code)}
        assert (2, 6) == (len(failed), len(journal.read_text().splitlines()))
        assert 0 == collect(broken, photos, journal)
    again = [json.loads(line)["photo"] for line in journal.read_text().splitlines()[6:]]
    assert failed == set(again)
    assert 6 == run_evaluation(journal)[1]["classified"]


def test_journal_of_another_service_is_refused(app: ASGIApp, url: str, photos: Path, tmp_path: Path, capsys) -> None:
    """The journal of another URL is refused and remains unchanged."""
    journal = tmp_path / "replay.jsonl"
    assert 0 == collect(url, photos, journal)
    before = journal.read_bytes()
    with background(app) as another:
        message = run_refused([another, str(photos), "--output", str(journal)], capsys)
    assert f"was sent to {url} (" in message
    assert before == journal.read_bytes()


def test_rejected_feedback_is_a_failure(app: ASGIApp, photos: Path, tmp_path: Path, capsys) -> None:
    """A service without the route answers 404, and the replay exits with 1."""

    def older(path: str, response: HttpResponse) -> HttpResponse:
        return page(response, "{}", 404, "application/json") if path == "/feedback" else response

    with background(changed(app, older)) as url:
        assert 1 == collect(url, photos, tmp_path / "replay.jsonl")
    assert "0 of 6 feedback requests accepted" in capsys.readouterr().out


def test_unreachable_service_is_reported(photos: Path, tmp_path: Path, capsys) -> None:
    """The replay prints one line and exits with 1."""
    with socket.socket() as taken:  # reserves the port without listening on it
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert 1 == collect(url, photos, tmp_path / "replay.jsonl")
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"replay: {url}: ConnectError: ")


class PhotoTimeoutUrl(UrlClient):
    """Apply the timeout only to photos. All other requests may take a minute."""

    def __init__(self, url: str, *, auth: httpx2.Auth | None, timeout_s: float) -> None:
        super().__init__(url, auth=auth, timeout_s=60)
        self._photos = UrlClient(url, auth=auth, timeout_s=timeout_s)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._photos.__exit__(*error)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._photos(request) if request.path == "/predict" else super().__call__(request)


def test_timeouts_are_journaled(app: ASGIApp, photos: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    """Photos without an answer have the status 0, and the replay exits with 1."""
    monkeypatch.setattr(replay, "UrlClient", PhotoTimeoutUrl)
    journal = tmp_path / "replay.jsonl"
    with background(hanging(app, "/predict")) as url:
        assert 1 == collect(url, photos, journal, "--timeout", "0.3")
    assert {(0, "no_answer")} == {(answer.status, answer.error_code) for answer in read(journal).values()}
    assert 6 == len(read(journal))
    assert 1 == post_deploy_evaluation.main([str(journal)])
    assert f"evaluation: {journal}: no photo was classified" in capsys.readouterr().err


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
    command += ["--output", str(journal), "--timeout", "600"]
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
    assert 0 == subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode
    assert journal.read_bytes().startswith(begun)
    added = journal.read_bytes().removeprefix(begun).splitlines()
    assert sorted(set(names) - set(answered)) == sorted(json.loads(line)["photo"] for line in added)


def test_incomplete_last_line_is_dropped(url: str, photos: Path, tmp_path: Path, capsys) -> None:
    """Only the photo of that line is sent again."""
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


ANSWER = {"request_id": "r", "model_version": "v", "predicted_class": "cat", "confidence": 1, "unknown": False}
ANSWERED = HttpResponse(200, (), json.dumps(ANSWER).encode())


def replay_photos(
    ask: Callable[[HttpRequest], HttpResponse], count: int, pace: Pace, loop: Callable[[], asyncio.AbstractEventLoop]
) -> list[Answer]:
    answers: list[Answer] = []
    photos = [Photo(f"cat/{n}.jpg", "cat", "image/jpeg", partial(bytes, n + 1)) for n in range(count)]
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(Replay(ask, pace, answers.append).send(photos))
    return answers


def replay_on_virtual_clock(count: int, pace: Pace, *, takes_s: float) -> tuple[list[Answer], dict[str, list[float]]]:
    """Return the answers of a service that takes `takes_s`, and the times of its requests by path."""
    loop = VirtualTimeLoop(takes_s)
    arrivals: dict[str, list[float]] = {"/predict": [], "/feedback": []}

    def ask(request: HttpRequest) -> HttpResponse:
        arrivals[request.path].append(loop.time())
        return ANSWERED

    return replay_photos(ask, count, pace, lambda: loop), arrivals


def test_photos_are_sent_at_the_rate() -> None:
    """The latency of the answers does not change the rate while connections are free."""
    answers, arrivals = replay_on_virtual_clock(20, Pace(rate=50, concurrency=20, share=0), takes_s=0.1)
    assert pytest.approx([n / 50 for n in range(20)]) == arrivals["/predict"]
    assert [0.0] * 20 == [answer.late_ms for answer in answers]


def test_late_photos_record_their_delay() -> None:
    """A photo that waits for a connection is sent once one is free, and records its delay."""
    answers, arrivals = replay_on_virtual_clock(20, Pace(rate=100, concurrency=1, share=0), takes_s=0.05)
    assert pytest.approx([n * 0.05 for n in range(20)]) == arrivals["/predict"]
    assert pytest.approx([n * (50 - 10) for n in range(20)]) == [answer.late_ms for answer in answers]


def test_concurrency_is_bounded() -> None:
    """Without a rate, the maximum number of requests is in flight, feedback included, and none is late."""
    together, lock = threading.Barrier(5), threading.Lock()
    came, here, most = 0, 0, 0

    def ask(_request: HttpRequest) -> HttpResponse:
        nonlocal came, here, most
        with lock:
            came, here = came + 1, here + 1
            most, is_early = max(most, here), came <= 5
        if is_early:
            together.wait(60)  # the first five only come past it together
        with lock:
            here -= 1
        return ANSWERED

    answers = replay_photos(ask, 20, Pace(concurrency=5), asyncio.new_event_loop)
    assert (5, 40, {0.0}) == (most, came, {answer.late_ms for answer in answers})


def test_feedback_is_delayed() -> None:
    """The delay does not hold up other photos."""
    _, arrivals = replay_on_virtual_clock(10, Pace(concurrency=1, delay_s=0.3), takes_s=0.01)
    assert pytest.approx([n * 0.01 for n in range(10)]) == arrivals["/predict"]
    assert pytest.approx([0.01 + 0.3 + n * 0.01 for n in range(10)]) == arrivals["/feedback"]


@given(st.binary(), st.floats(0, 1), st.floats(0, 1))
def test_larger_share_includes_the_smaller(data: bytes, one: float, other: float) -> None:
    """A share of 1 selects all photos, and one of 0 selects none."""
    assert is_selected(data, min(one, other)) <= is_selected(data, max(one, other))
    assert (True, False) == (is_selected(data, 1), is_selected(data, 0))


def test_share_is_accurate() -> None:
    """The selected fraction of 10,000 photos is within four standard deviations."""
    taken = sum(is_selected(str(number).encode(), 0.3) for number in range(10_000))
    assert taken == pytest.approx(3000, abs=4 * (10_000 * 0.3 * 0.7) ** 0.5)


def test_a_share_of_the_photos_gets_feedback(url: str, photos: Path, tmp_path: Path, capsys) -> None:
    """Photos without feedback are classified and evaluated, too."""
    journal = tmp_path / "replay.jsonl"
    collect(url, photos, journal, "--share", "0.5")
    expected = {photo.name for photo in find_photos(photos) if is_selected(photo.read(), 0.5)}
    assert expected == {name for name, answer in read(journal).items() if answer.feedback_status == 200}
    assert {"sent": len(expected), "accepted": len(expected)} == run_evaluation(journal)[1]["feedback"]
    assert 0 < len(expected) < 6


def test_evaluation_has_all_figures(url: str, photos: Path, tmp_path: Path, encode, capsys) -> None:
    """The evaluation has the accuracy with its interval, class scores, latencies and failures, and prints a table."""
    write_photo(photos / "cat/text.jpg", b"text")
    collect(url, photos, tmp_path / "replay.jsonl")
    code, evaluated = run_evaluation(tmp_path / "replay.jsonl")
    assert (0, 7, 6, {"unsupported_image": 1}) == (
        code,
        evaluated["photos"],
        evaluated["classified"],
        evaluated["failures"],
    )
    assert {"sent": 6, "accepted": 6} == evaluated["feedback"]
    assert (5 / 6, [0.4365, 0.9699]) == (
        evaluated["accuracy"],
        pytest.approx(evaluated["accuracy_interval"], abs=5e-5),
    )
    assert (["cat", "dog"], [[3, 0], [1, 2]]) == (evaluated["class_names"], evaluated["confusion_matrix"])
    assert (0.75, 1.0) == (evaluated["classes"]["cat"]["precision"], evaluated["classes"]["cat"]["recall"])
    assert {"2026.01.01-tiny": 6} == evaluated["model_versions"]
    assert 0 == evaluated["unknown"]
    latency = evaluated["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    shown = capsys.readouterr().out
    assert re.search(r"accuracy +83\.33%, 95 % interval 43\.65% to 96\.99%\n", shown)
    assert re.search(r"failures +1 unsupported_image\n", shown)


@pytest.mark.process
def test_make_evaluate_collects_first() -> None:
    """With URL=, `make evaluate` sends the photos to the journal that it then evaluates."""
    done = subprocess.run(
        ["make", "--dry-run", "evaluate", "URL=http://host", "DATA=photos", "SHARE=0", "JOURNAL=j"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    collect, _, evaluate = done.stdout.partition(" || ")
    assert 'python -m infra.replay "http://host" "photos" --output "j"' in collect
    assert '--share "0"' in collect
    assert 'python -m infra.replay.post_deploy_evaluation "j"' in evaluate


@pytest.mark.process
def test_make_evaluate_fails_without_service(url: str, photos: Path, tmp_path: Path) -> None:
    """If the service does not answer, `make evaluate` fails, also with the complete journal of an earlier run."""
    journal = tmp_path / "replay.jsonl"
    assert 0 == collect(url, photos, journal)
    with socket.socket() as bound:  # a port that is bound without listening refuses connections
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        files = (f"JOURNAL={journal}", f"JSON={tmp_path / 'evaluation.json'}")
        command = ["make", "-o", ".venv/.train", "evaluate", f"URL={address}", f"DATA={photos}", *files]
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert 2 == done.returncode, done.stdout
    assert f"{address}: ConnectError" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rate", "0"], "argument --rate: '0': expected a positive number"),
        (["--rate", "fast"], "argument --rate: 'fast': expected a positive number"),
        (["--share", "2"], "argument --share: '2': expected a number from 0 to 1"),
        (["--share", "nan"], "argument --share: 'nan': expected a number from 0 to 1"),
        (["--delay", "-1"], "argument --delay: '-1': expected 0 or a positive number of seconds"),
        (
            ["--output", "/proc/1.jsonl"],
            "/proc/1.jsonl: No such file or directory; expected a file that can be written",
        ),
    ],
)
def test_invalid_arguments_are_refused(url: str, photos: Path, capsys, arguments: list[str], expected: str) -> None:
    """The command prints the value and what was expected, and exits with 2."""
    assert run_refused([url, str(photos), *arguments], capsys).endswith(f"error: {expected}")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere", "expected a folder or a .zip of photos with one folder per class"),
        ("empty", "found no photo, expected one folder per class"),
        ("photos/cat/1.jpg", "expected a folder or a .zip of photos with one folder per class"),
        ("strange", "'cat/\\n.jpg', expected printable UTF-8 file names"),
    ],
)
def test_missing_photos_are_reported(url: str, photos: Path, tmp_path: Path, capsys, name: str, expected: str) -> None:
    """The error names the folder, archive or file."""
    (tmp_path / "empty").mkdir()
    write_photo(tmp_path / "strange/cat/\n.jpg", b"")
    message = run_refused([url, str(tmp_path / name), "--output", str(tmp_path / "replay.jsonl")], capsys)
    assert message.endswith(f"error: {tmp_path / name}: {expected}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}\n", "line 1 photo: Field required"),
        ('{"photo": "1.jpg"\n', "line 1: Invalid JSON: "),
        ("a letter", "its last line begins with b'a letter'"),
    ],
)
def test_other_files_are_no_journal(url: str, photos: Path, tmp_path: Path, capsys, text: str, problem: str) -> None:
    """Such a file is neither evaluated nor overwritten."""
    journal = tmp_path / "replay.jsonl"
    journal.write_text(text)
    for main, before in (
        (post_deploy_evaluation.main, []),
        (replay.main, [url, str(photos), "--output"]),
    ):
        message = run_refused([*before, str(journal)], capsys, main)
        assert f"error: {journal}: {problem}" in message
        assert message.endswith("; expected a journal that infra.replay wrote")
    assert text == journal.read_text()


def test_missing_journal_is_named(tmp_path: Path, capsys) -> None:
    """The error names the file."""
    missing = run_refused([str(tmp_path / "none")], capsys, post_deploy_evaluation.main)
    assert missing.endswith(
        f"{tmp_path / 'none'}: No such file or directory; expected a journal that infra.replay wrote"
    )
