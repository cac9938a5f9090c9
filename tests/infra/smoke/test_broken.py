"""The real service with one fault: the smoke test fails, in the rows that the fault concerns and in no other."""

import itertools
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from infra import smoke_test
from infra.emulator.event import HttpRequest
from infra.emulator.response import HttpResponse
from infra.emulator.serve import background, listen
from infra.smoke import url
from infra.smoke.answers import NoAnswer, get
from infra.smoke.checks import FAMILIES
from infra.smoke.errors import ERRORS
from infra.smoke.expected import Golden
from infra.smoke.url import Url
from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings
from tests.infra.smoke.services import changed, edited, hanging, page, smoke, smoke_of

pytestmark = pytest.mark.slow

GOLDEN = Golden.read()
PREDICTIONS = {f"POST /predict {photo}{way}" for photo in GOLDEN.photos for way in ("", " in a form")}
ALL_ERRORS = {f"{status} {code}: {name}" for name, (status, code, _) in ERRORS.items()}
HEALTH = {"GET /health"}
PATIENCE_S = 600


def older_model(path: str, response: HttpResponse) -> HttpResponse:
    return edited(response, lambda body: body.update(model_version="old")) if path == "/model/info" else response


def older_everywhere(_: str, response: HttpResponse) -> HttpResponse:
    return replace(response, body=response.body.replace(GOLDEN.model_version.encode(), b"old"))


def other_classes(path: str, response: HttpResponse) -> HttpResponse:
    return edited(response, lambda body: body["class_names"].reverse()) if path == "/model/info" else response


def swapped(path: str, response: HttpResponse) -> HttpResponse:
    def swap(body: dict) -> None:
        names = body["probabilities"]
        body["probabilities"] = dict(zip(names, reversed(names.values()), strict=True))

    return edited(response, swap) if (path, response.status) == ("/predict", 200) else response


def slightly_off(path: str, response: HttpResponse) -> HttpResponse:
    def move(body: dict) -> None:
        body["probabilities"] = {name: value + 0.002 for name, value in body["probabilities"].items()}

    return edited(response, move) if (path, response.status) == ("/predict", 200) else response


def never_unknown(path: str, response: HttpResponse) -> HttpResponse:
    body_of = (path, response.status) == ("/predict", 200)
    return edited(response, lambda body: body.update(unknown=False)) if body_of else response


def other_error_shape(_: str, response: HttpResponse) -> HttpResponse:
    return (
        response if response.status < 400 else page(response, '{"detail": "no"}', response.status, "application/json")
    )


def nameless_error(_: str, response: HttpResponse) -> HttpResponse:
    return response if response.status < 400 else edited(response, lambda body: body["error"].pop("request_id"))


def stack_trace(_: str, response: HttpResponse) -> HttpResponse:
    trace = 'Traceback (most recent call last):\n  File "/var/task/app.py", line 3'
    return response if response.status < 400 else edited(response, lambda body: body["error"].update(message=trace))


def crash(_: str, response: HttpResponse) -> HttpResponse:
    return response if response.status != 422 else page(response, "Internal Server Error", 500, "text/plain")


def no_metrics(path: str, response: HttpResponse) -> HttpResponse:
    return page(response, "{}", 404) if path == "/metrics" else response


def unlisted(path: str, response: HttpResponse) -> HttpResponse:
    return edited(response, lambda body: body["routes"].pop("GET /docs")) if path == "/" else response


def metrics_page(path: str, response: HttpResponse) -> HttpResponse:
    return page(response, "<html>Welcome!</html>") if path == "/metrics" else response


def metrics_stand_still(path: str, response: HttpResponse) -> HttpResponse:
    still = "".join(f"# TYPE {name} {kind}\n" for name, kind in FAMILIES.items())
    still += 'prediction_requests_total{predicted_class="cat"} 7.0\n'
    return page(response, still, kind="text/plain") if path == "/metrics" else response


def other_api(path: str, response: HttpResponse) -> HttpResponse:
    return edited(response, lambda body: body["paths"].pop("/predict")) if path == "/openapi.json" else response


def json_as_html(path: str, response: HttpResponse) -> HttpResponse:
    return page(response, response.body.decode()) if path == "/model/info" else response


def parked(_: str, response: HttpResponse) -> HttpResponse:
    return page(response, "<html>This domain is for sale</html>")


def moved(_: str, response: HttpResponse) -> HttpResponse:
    return replace(response, status=301, headers=(("location", "https://example.org"),), body=b"")


def unhealthy(path: str, response: HttpResponse) -> HttpResponse:
    return edited(response, lambda body: body.update(model_loaded=False)) if path == "/health" else response


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        (older_model, {"GET /model/info"}),
        (older_everywhere, {"GET /", "GET /model/info", "GET /openapi.json", *PREDICTIONS}),
        (other_classes, {"GET /model/info"}),
        (swapped, PREDICTIONS),
        (slightly_off, PREDICTIONS),
        (never_unknown, {name for name in PREDICTIONS if "neither" in name}),
        (other_error_shape, ALL_ERRORS),
        (nameless_error, ALL_ERRORS),
        (stack_trace, ALL_ERRORS),
        (crash, {"422 damaged_image: half a photo"}),
        (no_metrics, {"GET routes", "GET /metrics", "GET /metrics counts"}),
        (unlisted, {"GET /"}),
        (metrics_page, {"GET /metrics", "GET /metrics counts"}),
        (metrics_stand_still, {"GET /metrics counts"}),
        (other_api, {"GET /openapi.json"}),
        (json_as_html, {"GET /model/info"}),
        (parked, HEALTH),
        (moved, HEALTH),
        (unhealthy, HEALTH),
    ],
)
def test_fault(released: ASGIApp, tmp_path: Path, fault, failed: set[str]) -> None:
    """Each fault makes its own rows fail, and the exit code 1."""
    result = smoke_of(changed(released, fault), tmp_path, "--wait", "0.3")
    assert (1, failed) == (result.code, result.failed)


def test_nothing_is_asked_of_a_service_that_is_not_healthy(released: ASGIApp, tmp_path: Path) -> None:
    """Health is the only row then."""
    assert HEALTH == smoke_of(changed(released, unhealthy), tmp_path, "--wait", "0.3").rows.keys()


@pytest.mark.parametrize(
    ("option", "given"), [("--commit", "0123abc"), ("--image", "r/pets@sha256:0"), ("--version", "9")]
)
def test_not_what_was_deployed(released: ASGIApp, tmp_path: Path, option: str, given: str) -> None:
    """A commit, an image and a version that were named have to be the ones that answer."""
    result = smoke_of(released, tmp_path, option, given)
    assert 1 == result.code
    assert given in result.rows["GET /model/info"]["expected"].values()
    assert "GET /model/info" in result.failed


def test_golden_answers_of_other_photos(released: ASGIApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that belong to other photos are not those that come."""
    cat, neither = GOLDEN.photos.values()
    other = replace(GOLDEN, photos=dict(zip(GOLDEN.photos, (neither, cat), strict=True)))
    monkeypatch.setattr(smoke_test.Golden, "read", lambda: other)
    assert PREDICTIONS == smoke_of(released, tmp_path).failed


def test_another_limit(classifier: Classifier, tmp_path: Path) -> None:
    """A service that was given another limit of bytes is not the one described."""
    app = create_app(classifier, Settings(max_image_bytes=9_000_000, log_level="ERROR"))
    assert {"413 too_large: too many bytes"} == smoke_of(app, tmp_path).failed


def test_open_to_every_site(released: ASGIApp, tmp_path: Path) -> None:
    """CORS for all is a fault, whether or not one site was to be allowed."""
    assert {"CORS for a foreign site"} == smoke_of(CORSMiddleware(released, ["*"]), tmp_path).failed


def test_closed_to_the_site(released: ASGIApp, tmp_path: Path) -> None:
    """Nothing is allowed to the site that was to be allowed."""
    assert {"CORS for https://pets.example"} == smoke_of(released, tmp_path, "--origin", "https://pets.example").failed


def test_site_that_may_only_read(released: ASGIApp, tmp_path: Path) -> None:
    """A site that may not POST a photo cannot use the service."""
    app = CORSMiddleware(released, ["https://pets.example"], allow_methods=["GET"])
    result = smoke_of(app, tmp_path, "--origin", "https://pets.example")
    assert (1, {"CORS for https://pets.example"}) == (result.code, result.failed)
    assert False is result.rows["CORS for https://pets.example"]["actual"]["POST"]


def test_unsigned_requests_pass(released: ASGIApp, tmp_path: Path, keys: dict[str, str]) -> None:
    """A service that was to be private, and answers whoever asks."""
    result = smoke_of(released, tmp_path, "--auth", "AWS_IAM")
    assert (1, {"unsigned request"}) == (result.code, result.failed)
    assert {"http": 200} == result.rows["unsigned request"]["actual"]


class Hurried(Url):
    """For one path --timeout is what it is; for the others it is longer than any machine is busy."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with pytest.MonkeyPatch.context() as patch:
            if request.path != "/model/info":
                patch.setattr(self, "_timeout_s", PATIENCE_S)
                patch.setattr(self._client, "timeout", PATIENCE_S)
            return super().__call__(request)


def test_hanging_route(released: ASGIApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that are never answered fail after --timeout, and the others are asked all the same."""
    monkeypatch.setattr(smoke_test, "Url", Hurried)
    result = smoke_of(hanging(released, "/model/info"), tmp_path, "--timeout", "0.3")
    assert {"GET routes", "GET /model/info"} == result.failed
    assert "ReadTimeout" in result.rows["GET /model/info"]["actual"]["no answer"]


def test_endless_answer(released: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that goes on for ever, byte by byte, is cut off after --timeout."""
    monkeypatch.setattr(url, "time", SimpleNamespace(monotonic=itertools.count(step=PATIENCE_S // 5).__next__))
    with (
        background(hanging(released, "/model/info", says=b"x")) as address,
        Url(address, auth=None, timeout_s=PATIENCE_S) as ask,
        pytest.raises(NoAnswer, match=rf"^the answer has no end: \d+ bytes within {PATIENCE_S} s$"),
    ):
        ask(get("/model/info"))


@contextmanager
def talking(greeting: bytes) -> Iterator[str]:
    """A port that says this to everybody and hangs up."""
    with listen(0) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):  # the other side may have hung up first
                    connection.sendall(greeting)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    "greeting", [b"", b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"]
)
def test_no_http(tmp_path: Path, greeting: bytes) -> None:
    """Whatever else listens there, or hangs up in the middle, is a failed row that says how."""
    with talking(greeting) as address:
        result = smoke(address, tmp_path, "--wait", "0.3")
    assert (1, HEALTH) == (result.code, result.failed)
    assert result.rows["GET /health"]["actual"]["no answer"]


def test_no_tls(released: ASGIApp, tmp_path: Path) -> None:
    """A port that does not speak TLS behind an https:// URL."""
    with background(released) as address:
        result = smoke(address.replace("http", "https"), tmp_path, "--wait", "0.3")
    assert (1, HEALTH) == (result.code, result.failed)
    assert "SSL" in result.rows["GET /health"]["actual"]["no answer"]


def test_nobody_listens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A refused connection is a failed row, not a traceback."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert 1 == smoke_test.main([f"http://127.0.0.1:{bound.getsockname()[1]}", "--wait", "0.3"])
    row, summary = capsys.readouterr().out.splitlines()
    assert row.startswith("FAIL  GET /health ")
    assert row.endswith('no answer: "ConnectError: [Errno 111] Connection refused"')
    assert summary.startswith("0 of 1 checks passed, ")


def test_no_such_host(tmp_path: Path) -> None:
    """A name that does not resolve; `.invalid` never does."""
    result = smoke("http://pets.invalid", tmp_path, "--wait", "0.3")
    assert (1, HEALTH) == (result.code, result.failed)


def test_what_nobody_thought_of(released: ASGIApp, tmp_path: Path) -> None:
    """JSON of a wrong type everywhere is failed rows, never a traceback."""

    def lists(path: str, response: HttpResponse) -> HttpResponse:
        return response if path == "/health" else replace(response, body=json.dumps([1, "x"]).encode())

    result = smoke_of(changed(released, lists), tmp_path)
    assert {"GET /", "GET /model/info", "GET /openapi.json", *PREDICTIONS, *ALL_ERRORS} <= result.failed
