"""Call a service over its URL, and check what only a URL has: CORS, signatures and the deployment's settings.

The hook does not import this module: httpx2 and the parameter files are not in the function's image.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

import httpx2
from botocore.exceptions import BotoCoreError, ClientError

from infra.aws.stack import ALIAS, UNRESERVED, DeploymentError, Stack, load_parameters
from infra.emulator.event import MAX_PAYLOAD_BYTES, HttpRequest
from infra.emulator.invoke import DIRECT
from infra.emulator.response import HttpResponse
from infra.emulator.sigv4 import BODY_HASH
from infra.smoke.messages import Ask, NoAnswer, get, header
from infra.smoke.runner import Check, Pair
from lambda_app.telemetry.fields import SYNTHETIC_HEADER

FOREIGN_ORIGIN = "https://foreign.invalid"
ALLOW_ORIGIN = "access-control-allow-origin"
REQUESTED = f"content-type,{BODY_HASH}"  # headers of the page's requests


class UrlClient:
    """Send requests to a URL: `client(request)`. A context manager, which closes the connections."""

    def __init__(self, url: str, *, auth: httpx2.Auth | None, timeout_s: float) -> None:
        self._client = httpx2.Client(
            base_url=url, auth=auth, timeout=timeout_s, mounts=DIRECT, headers=[SYNTHETIC_HEADER]
        )
        self._timeout_s = timeout_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Return the response. Raise `NoAnswer` if there is none, or if its body takes too long or is too large."""
        deadline = time.monotonic() + self._timeout_s
        try:
            headers = [*request.headers, *_body_hash(request)]
            url = f"{request.path}?{request.query}" if request.query else request.path
            with self._client.stream(request.method, url, headers=headers, content=request.body) as reply:
                return HttpResponse(reply.status_code, tuple(reply.headers.multi_items()), self._body(reply, deadline))
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error

    def _body(self, reply: httpx2.Response, deadline: float) -> bytes:
        """Limit the time of the whole body; httpx2's timeout limits only the time between two reads."""
        body = b""
        for chunk in reply.iter_bytes():
            body += chunk
            if time.monotonic() > deadline or len(body) > MAX_PAYLOAD_BYTES:
                raise NoAnswer(
                    f"the response has {len(body)} bytes and has not ended; expected at most {MAX_PAYLOAD_BYTES} bytes "
                    f"within {self._timeout_s:g} s"
                )
        return body


def _body_hash(request: HttpRequest) -> Iterator[tuple[str, str]]:
    """Yield the header that CloudFront requires of a POST to a private URL; others ignore it."""
    if request.method == "POST":
        yield BODY_HASH, hashlib.sha256(request.body).hexdigest()


def access_checks(ask: Ask, ask_unsigned: Ask, *, private: bool, origin: str | None) -> Iterator[Check]:
    """Yield checks of who may call the URL.

    `ask_unsigned` calls the same URL as `ask` without a signature; `origin` is the site that CORS allows, if any.
    """
    yield Check("CORS for a foreign site", lambda: cors_denied(ask, ask_unsigned))
    if origin:
        yield Check(f"CORS for {origin}", lambda: cors_allowed(ask, ask_unsigned, origin))
    if private:
        yield Check("unsigned request", lambda: ({"http": 403}, {"http": int(ask_unsigned(get("/health")).status)}))


def _preflight(origin: str) -> HttpRequest:
    """Return the request that a browser sends, unsigned, before it posts a photo to another site."""
    requested = {"access-control-request-method": "POST", "access-control-request-headers": REQUESTED}
    return HttpRequest("OPTIONS", "/predict", headers=tuple({"origin": origin, **requested}.items()))


def cors_denied(ask: Ask, ask_unsigned: Ask) -> Pair:
    """Compare the CORS headers for a foreign site; neither response may have one."""
    responses = {
        "preflight": ask_unsigned(_preflight(FOREIGN_ORIGIN)),
        "request": ask(get("/health", origin=FOREIGN_ORIGIN)),
    }
    return dict.fromkeys(responses), {name: header(response, ALLOW_ORIGIN) for name, response in responses.items()}


def cors_allowed(ask: Ask, ask_unsigned: Ask, origin: str) -> Pair:
    """Compare the CORS headers for the allowed site, which may read responses and post photos."""
    preflight, response = ask_unsigned(_preflight(origin)), ask(get("/health", origin=origin))
    headers = _values(preflight, "access-control-allow-headers")
    return {"preflight": origin, "request": origin, "POST": True, "headers": True}, {
        "preflight": header(preflight, ALLOW_ORIGIN),
        "request": header(response, ALLOW_ORIGIN),
        "POST": bool({"post", "*"} & _values(preflight, "access-control-allow-methods")),
        "headers": "*" in headers or headers >= {*REQUESTED.split(",")},
    }


def _values(response: HttpResponse, name: str) -> set[str]:
    return {part.strip().lower() for part in (header(response, name) or "").split(",")}


def compare_settings(environment: str) -> Pair:
    """Return the settings in the parameter files, and those that Lambda applies. Raise `NoAnswer` if AWS has none."""
    try:
        stack = Stack.read(environment)
        applied = _applied_settings(stack.client("lambda"), stack.function)
    except (BotoCoreError, ClientError, DeploymentError) as error:
        raise NoAnswer(str(error)) from error
    return _configured_settings(load_parameters(environment)), applied


def _configured_settings(parameters: Mapping[str, str]) -> dict[str, Any]:
    reserved, origin = parameters["ReservedConcurrency"], parameters["CorsOrigin"]
    return {
        "auth": parameters["UrlAuthType"],
        "cors": [origin] if origin else [],
        "reserved_concurrency": None if reserved == UNRESERVED else int(reserved),
    }


def _applied_settings(client: Any, name: str) -> dict[str, Any]:
    url = client.get_function_url_config(FunctionName=name, Qualifier=ALIAS)
    concurrency = client.get_function_concurrency(FunctionName=name)
    return {
        "auth": url["AuthType"],
        "cors": url.get("Cors", {}).get("AllowOrigins", []),
        "reserved_concurrency": concurrency.get("ReservedConcurrentExecutions"),
    }
