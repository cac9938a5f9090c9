"""Replace Lambda's Invoke API with an HTTP server that can fail, hang, and return payloads of any size."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

from tests.support.http_server import QuietHandler, serving


@dataclass
class InvokeApi:
    """Answer every invocation with `payload` as soon as `released` is set, and record the requests."""

    endpoint: str = ""
    payload: bytes = b'{"statusCode": 200}'
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    running: int = 0
    most_running: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    started: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def returns(self, **payload: Any) -> None:
        self.payload = json.dumps(payload).encode()


@contextlib.contextmanager
def serve_invoke_api() -> Iterator[InvokeApi]:
    """Serve an Invoke API on a free port. The invocations end with the context."""
    api = InvokeApi()
    api.released.set()

    class Handler(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802  # http.server calls this name
            api.paths.append(self.path)
            api.events.append(json.loads(self.read_body()))
            with api.lock:
                api.running += 1
                api.most_running = max(api.running, api.most_running)
            api.started.release()
            api.released.wait()
            with api.lock:
                api.running -= 1
            with contextlib.suppress(OSError):  # the client disconnected
                self.respond(api.status, api.headers, api.payload)

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as api.endpoint:
        yield api
        api.released.set()
