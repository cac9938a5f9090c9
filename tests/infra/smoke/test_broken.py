"""Tests of the smoke test against services with one fault: only the rows that concern the fault fail."""

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
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from infra.emulator.event import HttpRequest
from infra.emulator.response import HttpResponse
from infra.emulator.serve import background, listen
from infra.smoke import __main__ as command
from infra.smoke import url
from infra.smoke.checks import ERRORS, METRIC_TYPES
from infra.smoke.golden import Golden
from infra.smoke.messages import NoAnswer, get
from infra.smoke.url import UrlClient
from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings
from tests.infra.smoke.faulty_services import changed, edited, hanging, page, smoke, smoke_app

pytestmark = pytest.mark.slow

GOLDEN = Golden.read()
PREDICTIONS = {f"POST /predict {photo}{way}" for photo in GOLDEN.photos for way in ("", " in a form")}
ALL_ERRORS = {f"{status} {code}: {name}" for name, (status, code, _) in ERRORS.items()}
HEALTH = {"GET /health"}
LONG_TIMEOUT_S = 600


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
    is_prediction = (path, response.status) == ("/predict", 200)
    return edited(response, lambda body: body.update(unknown=False)) if is_prediction else response


def other_error_shape(_: str, response: HttpResponse) -> HttpResponse:
    return (
        response if response.status < 400 else page(response, '{"detail": "no"}', response.status, "application/json")
    )


def error_without_request_id(_: str, response: HttpResponse) -> HttpResponse:
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


def metrics_never_count(path: str, response: HttpResponse) -> HttpResponse:
    constant = "".join(f"# TYPE {name} {kind}\n" for name, kind in METRIC_TYPES.items())
    constant += 'prediction_requests_total{predicted_class="cat"} 7.0\n'
    return page(response, constant, kind="text/plain") if path == "/metrics" else response


def other_api(path: str, response: HttpResponse) -> HttpResponse:
    return edited(response, lambda body: body["paths"].pop("/predict")) if path == "/openapi.json" else response


def json_as_html(path: str, response: HttpResponse) -> HttpResponse:
    return page(response, response.body.decode()) if path == "/model/info" else response


def parked_domain(_: str, response: HttpResponse) -> HttpResponse:
    return page(response, "<html>This domain is for sale</html>")


def redirect(_: str, response: HttpResponse) -> HttpResponse:
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
        (error_without_request_id, ALL_ERRORS),
        (stack_trace, ALL_ERRORS),
        (crash, {"422 damaged_image: a truncated photo"}),
        (no_metrics, {"GET routes", "GET /metrics", "GET /metrics counts"}),
        (unlisted, {"GET /"}),
        (metrics_page, {"GET /metrics", "GET /metrics counts"}),
        (metrics_never_count, {"GET /metrics counts"}),
        (other_api, {"GET /openapi.json"}),
        (json_as_html, {"GET /model/info"}),
        (parked_domain, HEALTH),
        (redirect, HEALTH),
        (unhealthy, HEALTH),
    ],
)
def test_fault_fails_its_own_rows(released: ASGIApp, tmp_path: Path, fault, failed: set[str]) -> None:
    """Each fault fails exactly its own rows and exits with 1."""
    result = smoke_app(changed(released, fault), tmp_path, "--wait", "0.3")
    assert (1, failed) == (result.code, result.failed)


def test_unhealthy_service_gets_no_further_checks(released: ASGIApp, tmp_path: Path) -> None:
    """For an unhealthy service, the health check is the only row."""
    assert HEALTH == smoke_app(changed(released, unhealthy), tmp_path, "--wait", "0.3").rows.keys()


@pytest.mark.parametrize(
    ("option", "given"), [("--commit", "0123abc"), ("--image", "r/pets@sha256:0"), ("--version", "9")]
)
def test_unexpected_deployment_fails(released: ASGIApp, tmp_path: Path, option: str, given: str) -> None:
    """A service with another commit, image or version than expected fails."""
    result = smoke_app(released, tmp_path, option, given)
    assert 1 == result.code
    assert given in result.rows["GET /model/info"]["expected"].values()
    assert "GET /model/info" in result.failed


def test_golden_answers_of_other_photos_fail(
    released: ASGIApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predictions are compared photo by photo: swapped golden answers fail."""
    cat, neither = GOLDEN.photos.values()
    other = replace(GOLDEN, photos=dict(zip(GOLDEN.photos, (neither, cat), strict=True)))
    monkeypatch.setattr(command.Golden, "read", lambda: other)
    assert PREDICTIONS == smoke_app(released, tmp_path).failed


def test_another_size_limit_fails(released_classifier: Classifier, tmp_path: Path) -> None:
    """A service that accepts larger photos than documented fails."""
    app = create_app(released_classifier, Settings(max_image_bytes=9_000_000, log_level="ERROR"))
    assert {"413 too_large: too many bytes"} == smoke_app(app, tmp_path).failed


def test_cors_for_every_site_fails(released: ASGIApp, tmp_path: Path) -> None:
    """CORS for every site fails."""
    assert {"CORS for a foreign site"} == smoke_app(CORSMiddleware(released, ["*"]), tmp_path).failed


def test_cors_missing_for_allowed_site_fails(released: ASGIApp, tmp_path: Path) -> None:
    """A service without CORS for the expected site fails."""
    assert {"CORS for https://pets.example"} == smoke_app(released, tmp_path, "--origin", "https://pets.example").failed


def test_cors_without_post_fails(released: ASGIApp, tmp_path: Path) -> None:
    """CORS that does not allow POST fails."""
    app = CORSMiddleware(released, ["https://pets.example"], allow_methods=["GET"])
    result = smoke_app(app, tmp_path, "--origin", "https://pets.example")
    assert (1, {"CORS for https://pets.example"}) == (result.code, result.failed)
    assert False is result.rows["CORS for https://pets.example"]["actual"]["POST"]


def test_public_url_that_should_be_private_fails(released: ASGIApp, tmp_path: Path, keys: dict[str, str]) -> None:
    """A service that answers unsigned requests fails if it should be private."""
    result = smoke_app(released, tmp_path, "--auth", "AWS_IAM")
    assert (1, {"unsigned request"}) == (result.code, result.failed)
    assert {"http": 200} == result.rows["unsigned request"]["actual"]


class ImpatientClient(UrlClient):
    """Apply --timeout to one path; a busy machine cannot exceed the timeout of the others."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with pytest.MonkeyPatch.context() as patch:
            if request.path != "/model/info":
                patch.setattr(self, "_timeout_s", LONG_TIMEOUT_S)
                patch.setattr(self._client, "timeout", LONG_TIMEOUT_S)
            return super().__call__(request)


def test_hanging_route_fails_after_timeout(released: ASGIApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request without a response fails after --timeout, and the other checks still run."""
    monkeypatch.setattr(command, "UrlClient", ImpatientClient)
    result = smoke_app(hanging(released, "/model/info"), tmp_path, "--timeout", "0.3")
    assert {"GET routes", "GET /model/info"} == result.failed
    assert "ReadTimeout" in result.rows["GET /model/info"]["actual"]["no answer"]


def test_endless_response_is_cut_off(released: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that never ends is cut off after --timeout."""
    monkeypatch.setattr(url, "time", SimpleNamespace(monotonic=itertools.count(step=LONG_TIMEOUT_S // 5).__next__))
    with (
        background(hanging(released, "/model/info", chunk=b"x")) as address,
        UrlClient(address, auth=None, timeout_s=LONG_TIMEOUT_S) as ask,
        pytest.raises(NoAnswer, match=rf"^the response has \d+ bytes and has not ended; .* within {LONG_TIMEOUT_S} s$"),
    ):
        ask(get("/model/info"))


def test_query_is_sent() -> None:
    """The service receives the query of a request."""

    async def echo(request: Request) -> Response:
        return Response(request.url.query)

    app = Starlette(routes=[Route("/", echo)])
    with background(app) as address, UrlClient(address, auth=None, timeout_s=LONG_TIMEOUT_S) as ask:
        assert b"a=1&b=%20" == ask(HttpRequest("GET", "/", query="a=1&b=%20")).body


@contextmanager
def talking(greeting: bytes) -> Iterator[str]:
    """Yield the URL of a port that sends this to every client and hangs up."""
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
def test_server_without_http_fails(tmp_path: Path, greeting: bytes) -> None:
    """A server that speaks another protocol or hangs up fails with the reason."""
    with talking(greeting) as address:
        result = smoke(address, tmp_path, "--wait", "0.3")
    assert (1, HEALTH) == (result.code, result.failed)
    assert result.rows["GET /health"]["actual"]["no answer"]


def test_server_without_tls_fails(released: ASGIApp, tmp_path: Path) -> None:
    """An https:// URL whose server does not speak TLS fails."""
    with background(released) as address:
        result = smoke(address.replace("http", "https"), tmp_path, "--wait", "0.3")
    assert (1, HEALTH) == (result.code, result.failed)
    assert "SSL" in result.rows["GET /health"]["actual"]["no answer"]


def test_refused_connection_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A refused connection is a failed row, not a traceback."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert 1 == command.main([f"http://127.0.0.1:{bound.getsockname()[1]}", "--wait", "0.3"])
    row, summary = capsys.readouterr().out.splitlines()
    assert row.startswith("FAIL  GET /health ")
    assert row.endswith('no answer: "ConnectError: [Errno 111] Connection refused"')
    assert summary.startswith("0 of 1 checks passed, ")


def test_unknown_host_fails(tmp_path: Path) -> None:
    """A host name that does not resolve fails."""
    result = smoke("http://pets.invalid", tmp_path, "--wait", "0.3")
    assert (1, HEALTH) == (result.code, result.failed)


def test_unexpected_json_types_fail(released: ASGIApp, tmp_path: Path) -> None:
    """JSON of an unexpected type fails the checks without a traceback."""

    def lists(path: str, response: HttpResponse) -> HttpResponse:
        return response if path == "/health" else replace(response, body=json.dumps([1, "x"]).encode())

    result = smoke_app(changed(released, lists), tmp_path)
    assert {"GET /", "GET /model/info", "GET /openapi.json", *PREDICTIONS, *ALL_ERRORS} <= result.failed
