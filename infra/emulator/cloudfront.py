"""Emulate the distribution of infra/aws/edge.yaml: CloudFront with origin access control in front of a private URL.

The emulator replaces the Authorization header with its own signature, which covers the hash of the body that the client
sends. It adds the template's security headers. It has no cache, no compression and no firewall.

    python -m infra.emulator.serve --auth AWS_IAM
    python -m infra.emulator.cloudfront http://127.0.0.1:8000 --port 8001
"""

import argparse
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx2
import yaml
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.session import Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from infra.emulator.event import HOP_BY_HOP
from infra.emulator.invoke import DIRECT, LONGEST_INVOCATION_S
from infra.emulator.serve import listen_or_explain, server
from infra.emulator.sigv4 import BODY_HASH

TEMPLATE = Path(__file__).parents[1] / "aws/edge.yaml"
REGION = "us-east-1"  # of the signature; the emulated function URL accepts any
EMPTY_BODY_HASH = hashlib.sha256(b"").hexdigest()  # CloudFront signs this if the client sends no hash
METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
# CloudFront replaces these headers; httpx2 sets the length.
REPLACED = {"authorization", "content-length", "host", "x-amz-date", "x-amz-security-token"} | HOP_BY_HOP


def create_edge(origin: str, credentials: Credentials) -> ASGIApp:
    """Return the ASGI app of a distribution in front of the function URL `origin`."""
    headers = read_security_headers()

    async def forward(request: Request) -> Response:
        async with httpx2.AsyncClient(timeout=LONGEST_INVOCATION_S, mounts=DIRECT) as client:
            outgoing = _sign(client, origin, request, await request.body(), credentials)
            reply = await client.send(outgoing)
        response = Response(reply.content, reply.status_code)
        response.raw_headers = [(name.lower(), value) for name, value in reply.headers.raw]
        for name, (value, override) in headers.items():
            if override or name not in response.headers:
                response.headers[name] = value
        return response

    return Starlette(routes=[Route("/{path:path}", forward, methods=METHODS)])


def _sign(
    client: httpx2.AsyncClient, origin: str, request: Request, body: bytes, credentials: Credentials
) -> httpx2.Request:
    """Return the request to the function URL, signed with the client's hash of the body."""
    path = request.scope["raw_path"].decode("latin-1") + (f"?{request.url.query}" if request.url.query else "")
    headers = [(name, value) for name, value in request.headers.items() if name not in REPLACED]
    outgoing = client.build_request(request.method, origin + path, headers=headers, content=body)
    body_hash = request.headers.get(BODY_HASH, EMPTY_BODY_HASH)
    signed = AWSRequest(request.method, origin + path, headers={BODY_HASH: body_hash})
    SigV4Auth(credentials, "lambda", REGION).add_auth(signed)
    outgoing.headers.update(dict(signed.headers))
    return outgoing


def read_security_headers() -> Mapping[str, tuple[str, bool]]:
    """Return the template's headers as {name: (value, override)}. With `override`, they replace the function's."""
    template = yaml.load(TEMPLATE.read_text(), _Loader)  # noqa: S506  # a safe loader
    config = template["Resources"]["Headers"]["Properties"]["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
    policy, transport = config["ContentSecurityPolicy"], config["StrictTransportSecurity"]
    return {
        "content-security-policy": (policy["ContentSecurityPolicy"], policy["Override"]),
        "x-content-type-options": ("nosniff", config["ContentTypeOptions"]["Override"]),
        "x-frame-options": (config["FrameOptions"]["FrameOption"], config["FrameOptions"]["Override"]),
        "referrer-policy": (config["ReferrerPolicy"]["ReferrerPolicy"], config["ReferrerPolicy"]["Override"]),
        "strict-transport-security": (f"max-age={transport['AccessControlMaxAgeSec']}", transport["Override"]),
    }


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's tags, such as !Ref, as None. The security headers have no tags."""


_Loader.add_multi_constructor("!", lambda *_: None)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.emulator.cloudfront", description=__doc__.split("\n")[0])
    parser.add_argument("origin", help="the function URL, for example http://127.0.0.1:8000")
    parser.add_argument("--port", type=int, default=8001, help="default: 8001; 0 for a free port")
    options = parser.parse_args(arguments)
    credentials = Session().get_credentials()
    if not credentials:
        parser.error("found no AWS credentials in the environment; expected those of the emulated function URL")
    listener = listen_or_explain("cloudfront", options.port, "--port")
    if not listener:
        return 1
    try:
        with listener:
            print(f"Serving http://127.0.0.1:{listener.getsockname()[1]} (Ctrl-C stops)", flush=True)
            server(create_edge(options.origin.rstrip("/"), credentials)).run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
