"""Serve HTTP from a thread, for tests that record or script the requests of a client, and send requests."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2

from tests.support.waiting import DEADLINE_S

JPEG = bytes(range(256)) * 4


class QuietHandler(BaseHTTPRequestHandler):
    """Base class for handlers that log nothing and respond with a whole body."""

    def log_message(self, *_: object) -> None:
        pass

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def respond(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    """Run the server, and yield its URL."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://{server.server_address[0]}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def refusing_url() -> Iterator[str]:
    """Yield the URL of a port that is bound without listening, and therefore refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def get(url: str) -> httpx2.Response:
    return httpx2.get(url, trust_env=False, timeout=DEADLINE_S)
