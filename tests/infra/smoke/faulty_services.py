"""Run the smoke test against the real app, unchanged or with one fault."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.emulator.response import HttpResponse
from infra.emulator.serve import background
from infra.smoke import __main__ as command
from tests.support.waiting import DEADLINE_S

HEALTH = {"GET /health"}  # the only row of a service that is not healthy
Change = Callable[[str, HttpResponse], HttpResponse]  # path and original response to changed response


@dataclass(frozen=True)
class Result:
    code: int
    rows: dict[str, dict[str, Any]]  # the rows of --json by the name of the check

    @property
    def failed(self) -> set[str]:
        return {name for name, row in self.rows.items() if not row["passed"]}


def smoke(url: str, folder: Path, *options: str) -> Result:
    """Run the command line against a URL and return its exit code and rows."""
    report = folder / "smoke.json"
    code = command.main([url, "--json", str(report), "--timeout", str(DEADLINE_S), *options])
    return Result(code, {row["check"]: row for row in json.loads(report.read_text())["checks"]})


def smoke_app(app: ASGIApp, folder: Path, *options: str) -> Result:
    """Serve the app on a free port and run the command line against it."""
    with background(app) as url:
        return smoke(url, folder, *options)


def changed(app: ASGIApp, change: Change) -> ASGIApp:
    """Return the app with every response passed through `change`."""

    async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            messages.append(message)

        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        await app(scope, receive, collect)
        start, *bodies = messages
        headers = tuple((name.decode(), value.decode()) for name, value in start["headers"])
        body = b"".join(message.get("body", b"") for message in bodies)
        response = change(scope["path"], HttpResponse(start["status"], headers, body))
        kept = [(n.encode(), v.encode()) for n, v in response.headers if n != "content-length"]
        await send({"type": "http.response.start", "status": response.status, "headers": kept})
        await send({"type": "http.response.body", "body": response.body})

    return faulty


def hanging(app: ASGIApp, path: str, *, chunk: bytes = b"") -> ASGIApp:
    """Return the app with one path that never answers, or that sends `chunk` without end."""

    async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != path:
            await app(scope, receive, send)
            return
        if chunk:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            while chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await asyncio.sleep(0.01)

    return faulty


def page(response: HttpResponse, body: str, status: int = 200, kind: str = "text/html") -> HttpResponse:
    """Return the response with another body, status and content type."""
    return replace(response, status=status, headers=(("content-type", kind),), body=body.encode())


def edited(response: HttpResponse, edit: Callable[[dict[str, Any]], Any]) -> HttpResponse:
    """Return the response with its JSON edited; `edit` changes the decoded body in place."""
    body = json.loads(response.body)
    edit(body)
    return replace(response, body=json.dumps(body).encode())
