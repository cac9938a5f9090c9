"""What a message of Alertmanager's reaches in place of Slack, and how long to wait for it."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Channel(ThreadingHTTPServer):
    """It answers as Slack's incoming webhooks do, and keeps what it was told."""

    daemon_threads = True

    def __init__(self, host: str) -> None:
        super().__init__((host, 0), Hook)
        self.messages: list[dict[str, Any]] = []

    def texts(self) -> dict[str, str]:
        """Of the messages, by their titles."""
        return {part["title"]: part["text"] for message in self.messages for part in message["attachments"]}


class Hook(BaseHTTPRequestHandler):
    server: Channel

    def do_POST(self) -> None:
        self.server.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@contextlib.contextmanager
def channel(host: str = "127.0.0.1") -> Iterator[Channel]:
    with Channel(host) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def wait_until(there: Callable[[], Any], seconds: float = 300) -> Any:
    """What `there` returns, as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < deadline, f"not within {seconds} seconds: {there}"
        time.sleep(0.1)
    return found
