"""Call a function through Lambda's Invoke API: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html.

AWS, the Runtime Interface Emulator (RIE) and `sam local start-lambda` provide this API.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Self
from urllib.parse import quote

import httpx2

from infra.emulator.event import MAX_PAYLOAD_BYTES
from infra.emulator.response import HttpResponse, MalformedResponse, to_response

LONGEST_INVOCATION_S = 900.0  # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
# Ignore proxies from the environment for connections within this machine.
DIRECT = {"all://127.0.0.1": None, "all://localhost": None}


class InvokeError(Exception):
    """There is no response to pass on. `status` and `code` are for the client; the message is the reason."""

    def __init__(self, code: str, reason: str, status: HTTPStatus = HTTPStatus.BAD_GATEWAY) -> None:
        super().__init__(reason)
        self.code, self.status = code, status


class Function:
    """A client for the function at `url`, from `invoke_url`. An async context manager, which closes its connections.

    Invocations run one after the other, because a concurrent one crashes the RIE (nil pointer in rapidcore's Invoke).
    `timeout_s` must exceed the function's timeout; otherwise, the RIE is busy at the next invocation.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._lock = asyncio.Lock()
        self._client = httpx2.AsyncClient(timeout=httpx2.Timeout(timeout_s, connect=5), mounts=DIRECT)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def invoke(self, payload: bytes) -> HttpResponse:
        """Return the function's response to an event. Raise `InvokeError` if there is none."""
        check_size(len(payload))
        try:
            async with self._lock:
                reply = await self._client.post(
                    self._url, content=payload, headers={"content-type": "application/json"}
                )
        except httpx2.TransportError as error:
            raise InvokeError("function_unreachable", f"{self._url}: {error!r}") from error
        return _response(reply)


def check_size(count: int) -> None:
    """Raise `InvokeError` if a request of `count` bytes exceeds the limit of Lambda."""
    if count > MAX_PAYLOAD_BYTES:
        reason = f"the request has {count} bytes; expected at most {MAX_PAYLOAD_BYTES} in base64"
        raise InvokeError("too_large", reason, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def invoke_url(endpoint: str, function: str = "function") -> str:
    """Return the Invoke URL of a function, by name or ARN; the RIE names its only function "function"."""
    return f"{endpoint.rstrip('/')}/2015-03-31/functions/{quote(function, safe='')}/invocations"


def _response(reply: httpx2.Response) -> HttpResponse:
    """Return the function's response. AWS marks a function error with a header and status 200, the RIE does not."""
    summary = f"{reply.status_code} {reply.text[:500]}"
    if reply.headers.get("x-amz-function-error") or _is_function_error(reply.content):
        raise InvokeError("function_error", summary)
    if reply.status_code != HTTPStatus.OK:
        raise InvokeError("function_unreachable", f"{reply.url} answered {summary}, expected 200")
    if len(reply.content) > MAX_PAYLOAD_BYTES:
        reason = f"the function returned {len(reply.content)} bytes, expected at most {MAX_PAYLOAD_BYTES}"
        raise InvokeError("bad_response", reason)
    try:
        return to_response(reply.content)
    except MalformedResponse as error:
        raise InvokeError("bad_response", str(error)) from error


def _is_function_error(payload: bytes) -> bool:
    """Detect the RIE's errors: https://github.com/aws/aws-lambda-runtime-interface-emulator/issues/20."""
    try:
        answer = json.loads(payload)
    except ValueError:
        return False
    return isinstance(answer, dict) and "errorType" in answer and "statusCode" not in answer
