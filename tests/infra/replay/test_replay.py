"""Test the replay: its requests, and the photos and services that fail."""

import json
from pathlib import Path

import httpx2
import pytest
from starlette.types import ASGIApp

from infra.emulator.event import HttpRequest
from infra.emulator.response import HttpResponse
from infra.emulator.serve import background
from infra.replay import __main__ as replay
from infra.replay import post_deploy_evaluation
from infra.replay.journal import read
from infra.smoke.url import UrlClient
from tests.infra.replay.replay_commands import MAX_BYTES, collect, run_evaluation, write_photo
from tests.infra.smoke.faulty_services import changed, edited, hanging, page
from tests.support.commands import run_refused
from tests.support.http_server import refusing_url
from tests.support.waiting import DEADLINE_S


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


def test_feedback_refers_to_the_prediction(app: ASGIApp, photos: Path, tmp_path: Path) -> None:
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


def test_refused_photos_are_final(url: str, photos: Path, tmp_path: Path, encode) -> None:
    """A refused photo has its error code and no feedback; the replay succeeds, and the next run does not send it."""
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
    message = run_refused(replay.main, [url, str(photos), "--output", str(journal)], capsys)
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
    app: ASGIApp, photos: Path, tmp_path: Path, fault, status: int, code: str
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


def test_rejected_feedback_is_a_failure(app: ASGIApp, photos: Path, tmp_path: Path, capsys) -> None:
    """A service without the route answers 404, and the replay exits with 1."""

    def older(path: str, response: HttpResponse) -> HttpResponse:
        return page(response, "{}", 404, "application/json") if path == "/feedback" else response

    with background(changed(app, older)) as url:
        assert 1 == collect(url, photos, tmp_path / "replay.jsonl")
    assert "0 of 6 feedback requests accepted" in capsys.readouterr().out


def test_unreachable_service_is_reported(photos: Path, tmp_path: Path, capsys) -> None:
    """The replay prints one line and exits with 1."""
    with refusing_url() as url:
        assert 1 == collect(url, photos, tmp_path / "replay.jsonl")
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"replay: {url}: ConnectError: ")


class PhotoTimeoutUrl(UrlClient):
    """Apply the timeout only to photos."""

    def __init__(self, url: str, *, auth: httpx2.Auth | None, timeout_s: float) -> None:
        super().__init__(url, auth=auth, timeout_s=DEADLINE_S)
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
    assert run_refused(replay.main, [url, str(photos), *arguments], capsys).endswith(f"error: {expected}")
