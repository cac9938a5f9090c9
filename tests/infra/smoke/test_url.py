"""Test the smoke test's requests: timeouts, queries, and services that do not answer with HTTP."""

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from infra.emulator.event import HttpRequest
from infra.emulator.response import HttpResponse
from infra.emulator.serve import background, listen
from infra.smoke import __main__ as command
from infra.smoke import url
from infra.smoke.messages import NoAnswer, get
from infra.smoke.url import UrlClient
from tests.infra.smoke.faulty_services import HEALTH, hanging, smoke, smoke_app
from tests.support.http_server import refusing_url
from tests.support.waiting import DEADLINE_S

pytestmark = pytest.mark.slow


class ImpatientClient(UrlClient):
    """Apply --timeout to one path; a busy machine cannot exceed the timeout of the others."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with pytest.MonkeyPatch.context() as patch:
            if request.path != "/model/info":
                patch.setattr(self, "_timeout_s", DEADLINE_S)
                patch.setattr(self._client, "timeout", DEADLINE_S)
            return super().__call__(request)


def test_hanging_route_fails_after_timeout(released: ASGIApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request without a response fails after --timeout, and the other checks still run."""
    monkeypatch.setattr(command, "UrlClient", ImpatientClient)
    result = smoke_app(hanging(released, "/model/info"), tmp_path, "--timeout", "0.3")
    assert {"GET routes", "GET /model/info"} == result.failed
    assert "ReadTimeout" in result.rows["GET /model/info"]["actual"]["no answer"]


def test_endless_response_is_cut_off(released: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that never ends is cut off after --timeout."""
    monkeypatch.setattr(url, "time", SimpleNamespace(monotonic=itertools.count(step=DEADLINE_S // 5).__next__))
    with (
        background(hanging(released, "/model/info", chunk=b"x")) as address,
        UrlClient(address, auth=None, timeout_s=DEADLINE_S) as ask,
        pytest.raises(NoAnswer, match=rf"^the response has \d+ bytes and has not ended; .* within {DEADLINE_S} s$"),
    ):
        ask(get("/model/info"))


def test_query_is_sent() -> None:
    """The service receives the query of a request."""

    async def echo(request: Request) -> Response:
        return Response(request.url.query)

    app = Starlette(routes=[Route("/", echo)])
    with background(app) as address, UrlClient(address, auth=None, timeout_s=DEADLINE_S) as ask:
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


def test_refused_connection_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """A refused connection is a failed row, not a traceback."""
    with refusing_url() as address:
        assert 1 == command.main([address, "--wait", "0.3"])
    row, summary = capsys.readouterr().out.splitlines()
    assert row.startswith("FAIL  GET /health ")
    assert row.endswith('no answer: "ConnectError: [Errno 111] Connection refused"')
    assert summary.startswith("0 of 1 checks passed, ")
