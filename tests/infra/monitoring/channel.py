"""Record the notifications of Alertmanager with a fake Slack webhook."""

import contextlib
import json
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

from tests.support.http_server import QuietHandler, serving


class Channel(ThreadingHTTPServer):
    """Answer like an incoming webhook of Slack, and record the messages."""

    def __init__(self, host: str) -> None:
        super().__init__((host, 0), Hook)
        self.messages: list[dict[str, Any]] = []

    def texts(self) -> dict[str, str]:
        """Return the texts of the messages by their titles."""
        return {part["title"]: part["text"] for message in self.messages for part in message["attachments"]}


class Hook(QuietHandler):
    server: Channel

    def do_POST(self) -> None:  # noqa: N802  # http.server calls this name
        self.server.messages.append(json.loads(self.read_body()))
        self.respond(200, {"Content-Type": "text/plain"}, b"ok")


@contextlib.contextmanager
def serve_channel(host: str) -> Iterator[Channel]:
    server = Channel(host)
    with serving(server):
        yield server
