"""The real app behind a real socket, and the same with one fault."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra import smoke_test
from infra.emulator.response import HttpResponse
from infra.emulator.serve import background

Change = Callable[[str, HttpResponse], HttpResponse]  # of a path and the answer that the app gave


@dataclass(frozen=True)
class Result:
    code: int
    rows: dict[str, dict[str, Any]]  # as in --json, by check

    @property
    def failed(self) -> set[str]:
        return {name for name, row in self.rows.items() if not row["passed"]}


def smoke(url: str, folder: Path, *options: str) -> Result:
    """The command line, and what it wrote."""
    report = folder / "smoke.json"
    code = smoke_test.main([url, "--json", str(report), "--timeout", "600", *options])
    return Result(code, {row["check"]: row for row in json.loads(report.read_text())["checks"]})


def smoke_of(app: ASGIApp, folder: Path, *options: str) -> Result:
    with background(app) as url:
        return smoke(url, folder, *options)


def changed(app: ASGIApp, change: Change) -> ASGIApp:
    """The app, except that its answers are changed."""

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
        answer = change(scope["path"], HttpResponse(start["status"], headers, body))
        kept = [(n.encode(), v.encode()) for n, v in answer.headers if n != "content-length"]
        await send({"type": "http.response.start", "status": answer.status, "headers": kept})
        await send({"type": "http.response.body", "body": answer.body})

    return faulty


def hanging(app: ASGIApp, path: str, *, says: bytes = b"") -> ASGIApp:
    """The app, except that one path never answers, or `says` this for ever."""

    async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != path:
            await app(scope, receive, send)
            return
        if says:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            while says:
                await send({"type": "http.response.body", "body": says, "more_body": True})
                await asyncio.sleep(0.01)

    return faulty


def page(response: HttpResponse, body: str, status: int = 200, kind: str = "text/html") -> HttpResponse:
    """Another answer altogether."""
    return replace(response, status=status, headers=(("content-type", kind),), body=body.encode())


def edited(response: HttpResponse, edit: Callable[[dict[str, Any]], Any]) -> HttpResponse:
    """The same with other JSON; `edit` changes it in place."""
    body = json.loads(response.body)
    edit(body)
    return replace(response, body=json.dumps(body).encode())
