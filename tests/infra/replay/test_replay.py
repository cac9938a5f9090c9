"""Photos replayed against a live service: what is sent, at which pace, what is kept of it, and what it comes to."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
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
from infra.replay import __main__ as collect_feedback
from infra.replay import evaluation as evaluate_post_deploy
from infra.replay.journal import Answer, read
from infra.replay.labeled_photos import Photo, find
from infra.replay.sender import Pace, Replay, chosen
from infra.smoke.url import Url
from lambda_app.app import create_app
from lambda_app.settings import Settings
from tests.infra.replay.virtual_time import VirtualTimeLoop
from tests.infra.smoke.services import changed, edited, hanging, page

ROOT = Path(__file__).parents[3]
LIMIT = 20_000  # bytes of a photo


@pytest.fixture(scope="module")
def app(tiny_classifier) -> ASGIApp:
    return create_app(tiny_classifier, Settings(max_image_bytes=LIMIT, log_level="ERROR"))


@pytest.fixture(scope="module")
def url(app: ASGIApp) -> Iterator[str]:
    with background(app) as url:
        yield url


@pytest.fixture
def photos(tmp_path: Path, encode) -> Path:
    """Three cats, two dogs, and a dog that the tiny model takes for a cat."""
    folder = tmp_path / "photos"
    for name, colour in [("Cat/1", "red"), ("Cat/2", "#e00000"), ("Cat/3", "#d00000"), ("dog/1", "blue")]:
        put(folder / f"{name}.jpg", encode(colour))
    put(folder / "dog/2.PNG", encode("#0000e0", image_format="PNG"))
    put(folder / "dog/3.jpg", encode("#c00000"))
    return folder


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def collect(url: str, photos: Path, journal: Path, *options: str) -> int:
    return collect_feedback.main([url, str(photos), "--output", str(journal), *options])


def evaluate(journal: Path, *options: str) -> tuple[int, dict]:
    output = journal.with_suffix(".json")
    code = evaluate_post_deploy.main([str(journal), "--json", str(output), *options])
    return code, json.loads(output.read_text())


def refused(arguments: list[str], capsys: pytest.CaptureFixture, main=collect_feedback.main) -> str:
    """The last line of a command that ends with exit code 2."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert 2 == stopped.value.code
    return capsys.readouterr().err.splitlines()[-1]


def test_every_photo_leaves_a_line(url: str, photos: Path, tmp_path: Path, capsys) -> None:
    """With its true label, what was answered, and that its feedback was taken."""
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
    assert "6 photos, 6 classified, 6 of 6 feedbacks taken" in capsys.readouterr().out.splitlines()


def test_feedback_is_about_the_prediction(app: ASGIApp, photos: Path, tmp_path: Path, capsys) -> None:
    """It names the prediction's request_id, and the label that the photo's folder has."""
    sent = {}

    def note(path: str, response: HttpResponse) -> HttpResponse:
        if path == "/feedback":
            body = json.loads(response.body)
            sent[body["request_id"]] = body["label"]
        return response

    with background(changed(app, note)) as url:
        collect(url, photos, tmp_path / "replay.jsonl")
    assert sent == {answer.request_id: answer.label for answer in read(tmp_path / "replay.jsonl").values()}


def test_an_archive_is_as_good_as_its_folder(photos: Path, tmp_path: Path) -> None:
    """The same photos, with the same labels and bytes, in the same order; the classes come mixed."""
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in photos.rglob("*"):
            archive.write(path, path.relative_to(photos))
    unpacked, packed = ([(p.name, p.label, p.read()) for p in find(path)] for path in (photos, tmp_path / "photos.zip"))
    assert unpacked == packed
    assert sorted(unpacked) != unpacked


def test_what_is_no_photo_is_left_out(photos: Path) -> None:
    """Hidden files and folders, what archivers leave behind, and whatever has another name than an image."""
    expected = {photo.name for photo in find(photos)}
    for name in (".hidden/1.jpg", "cat/.1.jpg", "__MACOSX/cat/1.jpg", "cat/Thumbs.db", "cat/notes.txt"):
        put(photos / name, b"no photo")
    assert expected == {photo.name for photo in find(photos)}


def test_refused_photos_are_answers_too(url: str, photos: Path, tmp_path: Path, encode, capsys) -> None:
    """Each keeps its error code and gets no feedback; that is no failure, and the next run does not ask again."""
    put(photos / "cat/big.jpg", encode("red") + bytes(LIMIT))
    put(photos / "cat/damaged.jpg", encode("red")[:400])
    put(photos / "cat/empty.jpg", b"")
    put(photos / "cat/text.jpg", b"text")
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


def test_a_label_that_is_no_class_stops_before_anything_is_sent(url: str, photos: Path, tmp_path: Path, capsys) -> None:
    """The line names the photo, its label and the classes that the model has."""
    put(photos / "wolf/1.jpg", b"a wolf")
    journal = tmp_path / "replay.jsonl"
    message = refused([url, str(photos), "--output", str(journal)], capsys)
    assert message.endswith("wolf/1.jpg: label 'wolf', expected a folder named as one of cat, dog")
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
def test_what_the_service_failed_at_is_sent_again(
    app: ASGIApp, photos: Path, tmp_path: Path, capsys, fault, status: int, code: str
) -> None:
    """Exit code 1 and the reason in the file; the next run sends those photos, no others, and their lines count."""
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
    assert 6 == evaluate(journal)[1]["classified"]


def test_what_another_service_answered_is_not_taken_for_this_ones(
    app: ASGIApp, url: str, photos: Path, tmp_path: Path, capsys
) -> None:
    """Dev's answers are not prod's: the same file at another URL is refused, and keeps what it holds."""
    journal = tmp_path / "replay.jsonl"
    assert 0 == collect(url, photos, journal)
    before = journal.read_bytes()
    with background(app) as another:
        message = refused([another, str(photos), "--output", str(journal)], capsys)
    assert f"was sent to {url} (" in message
    assert before == journal.read_bytes()


def test_feedback_that_is_not_taken_is_a_failure(app: ASGIApp, photos: Path, tmp_path: Path, capsys) -> None:
    """Such as of a version that does not know the route."""

    def older(path: str, response: HttpResponse) -> HttpResponse:
        return page(response, "{}", 404, "application/json") if path == "/feedback" else response

    with background(changed(app, older)) as url:
        assert 1 == collect(url, photos, tmp_path / "replay.jsonl")
    assert "0 of 6 feedbacks taken" in capsys.readouterr().out


def test_nobody_there(photos: Path, tmp_path: Path, capsys) -> None:
    """One line, exit code 1."""
    with socket.socket() as taken:  # nobody else can listen on its port, and it does not
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert 1 == collect(url, photos, tmp_path / "replay.jsonl")
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"collect_feedback: {url}: ConnectError: ")


class ImpatientForPhotos(Url):
    """Applies its timeout to photos alone; every other request may take a minute."""

    def __init__(self, url: str, *, auth: httpx2.Auth | None, timeout_s: float) -> None:
        super().__init__(url, auth=auth, timeout_s=60)
        self._photos = Url(url, auth=auth, timeout_s=timeout_s)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._photos.__exit__(*error)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._photos(request) if request.path == "/predict" else super().__call__(request)


def test_a_service_that_goes_away(app: ASGIApp, photos: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    """Photos that nobody answers have no status; the run ends all the same, with exit code 1."""
    monkeypatch.setattr(collect_feedback, "Url", ImpatientForPhotos)
    journal = tmp_path / "replay.jsonl"
    with background(hanging(app, "/predict")) as url:
        assert 1 == collect(url, photos, journal, "--timeout", "0.3")
    assert {(0, "no_answer")} == {(answer.status, answer.error_code) for answer in read(journal).values()}
    assert 6 == len(read(journal))
    assert 1 == evaluate_post_deploy.main([str(journal)])
    assert f"evaluate_post_deploy: {journal}: no photo was classified" in capsys.readouterr().err


@pytest.fixture
def held(app: ASGIApp) -> Iterator[tuple[str, threading.Semaphore]]:
    """The URL of a service, and how many more photos it may answer; the others wait until it is released."""
    allowed = threading.Semaphore(0)

    async def answer(scope, receive, send) -> None:
        if scope["type"] == "http" and scope["path"] == "/predict":
            await asyncio.to_thread(allowed.acquire)
        await app(scope, receive, send)

    with background(answer) as url:
        yield url, allowed
        allowed.release(1000)  # nothing waits on


@pytest.mark.process
def test_interrupting_loses_no_answer(held: tuple[str, threading.Semaphore], tmp_path: Path, encode) -> None:
    """After Ctrl-C the journal keeps every answer, and the same command sends only the photos that have none."""
    url, allowed = held
    names = [f"cat/{number}.jpg" for number in range(40)]
    for number, name in enumerate(names):
        put(tmp_path / "photos" / name, encode((255 - number, 0, 0)))
    journal = tmp_path / "replay.jsonl"
    command = [sys.executable, "-m", "infra.replay", url, str(tmp_path / "photos")]
    command += ["--output", str(journal), "--timeout", "600"]
    allowed.release(8)  # the feedback of some of them may wait for a connection, behind photos that are held
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as first:
        while first.poll() is None and not (journal.exists() and journal.read_bytes().endswith(b"\n")):
            time.sleep(0.01)
        first.send_signal(signal.SIGINT)
        while first.poll() is None:  # its threads wait for the photos that are under way
            allowed.release()
            time.sleep(1)
        _, stderr = first.communicate()
    begun = journal.read_bytes()
    assert (130, "Traceback" in stderr, "the same command goes on" in stderr) == (first.returncode, False, True)
    answered = [name for name, answer in read(journal).items() if answer.done]
    assert 0 < len(answered) < 40
    allowed.release(40)
    assert 0 == subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode
    assert journal.read_bytes().startswith(begun)
    added = journal.read_bytes().removeprefix(begun).splitlines()
    assert sorted(set(names) - set(answered)) == sorted(json.loads(line)["photo"] for line in added)


def test_a_torn_last_line_is_repaired(url: str, photos: Path, tmp_path: Path, capsys) -> None:
    """A power cut in the middle of a line costs that photo's answer, and no other."""
    journal = tmp_path / "replay.jsonl"
    collect(url, photos, journal)
    *whole, last = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([*whole, last[:40]]))
    assert 5 == len(read(journal))
    assert 0 == collect(url, photos, journal)
    *kept, again = journal.read_text().splitlines(keepends=True)
    assert (whole, json.loads(last)["photo"]) == (kept, json.loads(again)["photo"])


@pytest.mark.process
def test_a_full_disk_is_one_line(url: str, photos: Path, tmp_path: Path) -> None:
    """What was written before stays; there is no stack trace."""
    journal = tmp_path / "replay.jsonl"
    command = [sys.executable, "-m", "infra.replay", url, str(photos), "--output", str(journal)]
    limited = ["prlimit", "--fsize=500", *command]
    # Coverage's own file would be larger.
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(limited, cwd=ROOT, env=unmeasured, check=False, capture_output=True, text=True)
    assert 2 == done.returncode
    assert done.stderr.splitlines()[-1].endswith(f"{journal}: File too large; expected a file that can be written")
    assert "Traceback" not in done.stderr
    assert 1 == len(read(journal))


ANSWER = {"request_id": "r", "model_version": "v", "predicted_class": "cat", "confidence": 1, "unknown": False}
ANSWERED = HttpResponse(200, (), json.dumps(ANSWER).encode())


def replayed(
    ask: Callable[[HttpRequest], HttpResponse], count: int, pace: Pace, loop: Callable[[], asyncio.AbstractEventLoop]
) -> list[Answer]:
    answers: list[Answer] = []
    photos = [Photo(f"cat/{n}.jpg", "cat", "image/jpeg", partial(bytes, n + 1)) for n in range(count)]
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(Replay(ask, pace, answers.append).send(photos))
    return answers


def replayed_by_the_clock(count: int, pace: Pace, *, takes_s: float) -> tuple[list[Answer], dict[str, list[float]]]:
    """The answers, and by path when each request came, to a service that takes `takes_s`, on a clock from 0."""
    loop = VirtualTimeLoop(takes_s)
    came: dict[str, list[float]] = {"/predict": [], "/feedback": []}

    def ask(request: HttpRequest) -> HttpResponse:
        came[request.path].append(loop.time())
        return ANSWERED

    return replayed(ask, count, pace, lambda: loop), came


def test_photos_come_at_the_rate_asked_for() -> None:
    """However long an answer takes, as long as there are connections enough."""
    answers, came = replayed_by_the_clock(20, Pace(rate=50, at_a_time=20, share=0), takes_s=0.1)
    assert pytest.approx([n / 50 for n in range(20)]) == came["/predict"]
    assert [0.0] * 20 == [answer.late_ms for answer in answers]


def test_a_service_too_slow_for_the_rate_is_not_spared() -> None:
    """What waits for a connection is sent as soon as there is one, and says how late that was."""
    answers, came = replayed_by_the_clock(20, Pace(rate=100, at_a_time=1, share=0), takes_s=0.05)
    assert pytest.approx([n * 0.05 for n in range(20)]) == came["/predict"]
    assert pytest.approx([n * (50 - 10) for n in range(20)]) == [answer.late_ms for answer in answers]


def test_without_a_rate_as_many_as_allowed_are_under_way() -> None:
    """Never more, feedback included, and none is late."""
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

    answers = replayed(ask, 20, Pace(at_a_time=5), asyncio.new_event_loop)
    assert (5, 40, {0.0}) == (most, came, {answer.late_ms for answer in answers})


def test_feedback_comes_after_its_delay() -> None:
    """Which holds up no other photo."""
    _, came = replayed_by_the_clock(10, Pace(at_a_time=1, delay_s=0.3), takes_s=0.01)
    assert pytest.approx([n * 0.01 for n in range(10)]) == came["/predict"]
    assert pytest.approx([0.01 + 0.3 + n * 0.01 for n in range(10)]) == came["/feedback"]


@given(st.binary(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_takes_in_the_smaller(data: bytes, one: float, other: float) -> None:
    """By content alone; a share of 1 is all photos, of 0 none."""
    assert chosen(data, min(one, other)) <= chosen(data, max(one, other))
    assert (True, False) == (chosen(data, 1), chosen(data, 0))


def test_the_share_is_what_was_asked_for() -> None:
    """Of many photos, within four standard deviations."""
    taken = sum(chosen(str(number).encode(), 0.3) for number in range(10_000))
    assert taken == pytest.approx(3000, abs=4 * (10_000 * 0.3 * 0.7) ** 0.5)


def test_a_share_of_the_photos_gets_feedback(url: str, photos: Path, tmp_path: Path, capsys) -> None:
    """The rest is classified and evaluated like all others."""
    journal = tmp_path / "replay.jsonl"
    collect(url, photos, journal, "--share", "0.5")
    expected = {photo.name for photo in find(photos) if chosen(photo.read(), 0.5)}
    assert expected == {name for name, answer in read(journal).items() if answer.feedback_status == 200}
    assert {"sent": len(expected), "taken": len(expected)} == evaluate(journal)[1]["feedback"]
    assert 0 < len(expected) < 6


def test_what_it_comes_to(url: str, photos: Path, tmp_path: Path, encode, capsys) -> None:
    """Five of six are right: accuracy with Wilson's interval, each class, times and failures; and a table of it."""
    put(photos / "cat/text.jpg", b"text")
    collect(url, photos, tmp_path / "replay.jsonl")
    code, evaluated = evaluate(tmp_path / "replay.jsonl")
    assert (0, 7, 6, {"unsupported_image": 1}) == (
        code,
        evaluated["photos"],
        evaluated["classified"],
        evaluated["failures"],
    )
    assert {"sent": 6, "taken": 6} == evaluated["feedback"]
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
    assert re.search(r"accuracy +83\.33%, with 95 % confidence 43\.65% to 96\.99%\n", shown)
    assert re.search(r"failures +1 unsupported_image\n", shown)


def test_evaluation_can_replay_by_itself(url: str, photos: Path, tmp_path: Path, capsys) -> None:
    """With the arguments of infra.replay."""
    journal = tmp_path / "replay.jsonl"
    code, evaluated = evaluate(journal, "--replay", url, str(photos), "--share", "0")
    assert (0, 6, {"sent": 0, "taken": 0}) == (code, evaluated["classified"], evaluated["feedback"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rate", "0"], "argument --rate: '0': expected a positive number"),
        (["--rate", "fast"], "argument --rate: 'fast': expected a positive number"),
        (["--at-a-time", "0"], "argument --at-a-time: '0': expected a number from 1"),
        (["--share", "2"], "argument --share: '2': expected a number from 0 to 1"),
        (["--share", "nan"], "argument --share: 'nan': expected a number from 0 to 1"),
        (["--delay", "-1"], "argument --delay: '-1': expected a positive number of seconds"),
        (
            ["--output", "/proc/1.jsonl"],
            "/proc/1.jsonl: No such file or directory; expected a file that can be written",
        ),
    ],
)
def test_bad_arguments(url: str, photos: Path, capsys, arguments: list[str], expected: str) -> None:
    """One line that names the value and what was expected; exit code 2."""
    assert refused([url, str(photos), *arguments], capsys).endswith(f"error: {expected}")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere", "expected a folder or a .zip of photos, one folder a class"),
        ("empty", "no photo in it, expected one folder a class"),
        ("photos/cat/1.jpg", "expected a folder or a .zip of photos, one folder a class"),
        ("strange", "'cat/\\n.jpg', expected names of printable UTF-8"),
    ],
)
def test_no_photos(url: str, photos: Path, tmp_path: Path, capsys, name: str, expected: str) -> None:
    """The line names what was looked at."""
    (tmp_path / "empty").mkdir()
    put(tmp_path / "strange/cat/\n.jpg", b"")
    message = refused([url, str(tmp_path / name), "--output", str(tmp_path / "replay.jsonl")], capsys)
    assert message.endswith(f"error: {tmp_path / name}: {expected}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}\n", "line 1 photo: Field required"),
        ('{"photo": "1.jpg"\n', "line 1: Invalid JSON: "),
        ("a letter", "its last line begins with b'a letter'"),
    ],
)
def test_a_file_of_another_kind(url: str, photos: Path, tmp_path: Path, capsys, text: str, problem: str) -> None:
    """It is not evaluated, and not written to."""
    journal = tmp_path / "replay.jsonl"
    journal.write_text(text)
    for main, before in (
        (evaluate_post_deploy.main, []),
        (collect_feedback.main, [url, str(photos), "--output"]),
    ):
        message = refused([*before, str(journal)], capsys, main)
        assert f"error: {journal}: {problem}" in message
        assert message.endswith("; expected what infra.replay wrote")
    assert text == journal.read_text()


def test_nothing_to_evaluate(tmp_path: Path, capsys) -> None:
    """A file that is not there is named."""
    missing = refused([str(tmp_path / "none")], capsys, evaluate_post_deploy.main)
    assert missing.endswith(f"{tmp_path / 'none'}: No such file or directory; expected what infra.replay wrote")
