"""Lambda's Invoke API: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html.

AWS's Runtime Interface Emulator (RIE) offers it too, as does `sam local start-lambda`.
"""

import asyncio
import json
from contextlib import nullcontext
from http import HTTPStatus
from typing import Self
from urllib.parse import quote

import httpx2

from infra.emulator.event import MAX_PAYLOAD_BYTES
from infra.emulator.response import HttpResponse, MalformedResponse, to_response

LONGEST_INVOCATION_S = 900.0  # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
# A proxy from the environment never stands between two programs of one machine.
DIRECT = {"all://127.0.0.1": None, "all://localhost": None}


class InvokeError(Exception):
    """Why there is no answer from the function: an HTTP status, a code for clients, and the reason as message."""

    status = HTTPStatus.BAD_GATEWAY
    code: str


class RequestTooLarge(InvokeError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "too_large"


class FunctionFailed(InvokeError):
    code = "function_error"


class FunctionUnreachable(InvokeError):
    code = "function_unreachable"


class BadResponse(InvokeError):
    code = "bad_response"


class Function:
    """One function at `url`, which `invoke_url` makes. An async context: the HTTP client lives as long.

    One invocation at a time unless `concurrent`: a second one crashes the RIE (nil pointer in rapidcore's Invoke).
    `timeout_s` must exceed the function's own, else the RIE is still busy when the next invocation comes.
    """

    def __init__(self, url: str, *, concurrent: bool, auth: httpx2.Auth | None, timeout_s: float) -> None:
        self._url = url
        self._turn = nullcontext() if concurrent else asyncio.Lock()
        self._client = httpx2.AsyncClient(auth=auth, timeout=httpx2.Timeout(timeout_s, connect=5), mounts=DIRECT)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def invoke(self, payload: bytes) -> HttpResponse:
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise RequestTooLarge(
                f"the request is {len(payload)} bytes in base64, expected at most {MAX_PAYLOAD_BYTES}"
            )
        try:
            async with self._turn:
                reply = await self._client.post(
                    self._url, content=payload, headers={"content-type": "application/json"}
                )
        except httpx2.TransportError as error:
            raise FunctionUnreachable(f"{self._url}: {error!r}") from error
        return _response(reply)


def invoke_url(endpoint: str, function: str = "function") -> str:
    """Where to invoke one function, by name or ARN; "function" is what the RIE calls its only one."""
    return f"{endpoint.rstrip('/')}/2015-03-31/functions/{quote(function, safe='')}/invocations"


def _response(reply: httpx2.Response) -> HttpResponse:
    """The function's answer. AWS marks a function error in a header and answers 200; the RIE has only the body."""
    shown = f"{reply.status_code} {reply.text[:500]}"
    if reply.headers.get("x-amz-function-error") or _is_function_error(reply.content):
        raise FunctionFailed(shown)
    if reply.status_code != HTTPStatus.OK:
        raise FunctionUnreachable(f"{reply.url} answered {shown}, expected 200")
    if len(reply.content) > MAX_PAYLOAD_BYTES:
        raise BadResponse(f"the function returned {len(reply.content)} bytes, expected at most {MAX_PAYLOAD_BYTES}")
    try:
        return to_response(reply.content)
    except MalformedResponse as error:
        raise BadResponse(str(error)) from error


def _is_function_error(payload: bytes) -> bool:
    """https://github.com/aws/aws-lambda-runtime-interface-emulator/issues/20."""
    try:
        answer = json.loads(payload)
    except ValueError:
        return False
    return isinstance(answer, dict) and "errorType" in answer and "statusCode" not in answer
