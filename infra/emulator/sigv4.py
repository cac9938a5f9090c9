"""Sign requests for AWS, and verify signatures: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html.

`SigV4` signs requests of httpx2; `signed_by` verifies them as a private function URL does.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta

import httpx2
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.session import Session

from infra.emulator.event import HttpRequest

# Lambda's own endpoint, or a function URL.
HOST = re.compile(r"https?://(?:lambda|[a-z0-9]+\.lambda-url)\.([a-z0-9-]+)\.")
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[a-z0-9-]+)/lambda/aws4_request, ?"
    r"SignedHeaders=(?P<names>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
BODY_HASH = "x-amz-content-sha256"
LONGEST_AGE = timedelta(minutes=5)


class SigV4(httpx2.Auth):
    """Sign requests for Lambda with botocore's credentials, in the region that the URL's host names.

    For other hosts, use the configured region. Raise `ValueError` if region or credentials are missing.
    """

    requires_request_body = True

    def __init__(self, url: str, *, profile: str | None = None) -> None:
        session = Session(profile=profile)
        host = HOST.match(url)
        region = host[1] if host else session.get_config_variable("region")
        self._credentials = session.get_credentials()
        if not region or not self._credentials:
            raise ValueError(
                f"{url}: cannot sign requests; expected https://lambda.REGION.amazonaws.com, a function URL or "
                "a configured region, and AWS credentials"
            )
        self._region = region

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        headers = {name: request.headers[name] for name in ("content-type",) if name in request.headers}
        signed = AWSRequest(request.method, str(request.url), headers=headers, data=request.content)
        SigV4Auth(self._credentials, "lambda", self._region).add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request


def read_verifier() -> Callable[[HttpRequest], bool]:
    """Return a verifier for the credentials that botocore finds. Raise `ValueError` if there are none."""
    credentials = Session().get_credentials()
    if not credentials:
        raise ValueError("AuthType AWS_IAM: expected AWS credentials in the environment; any will do")
    return signed_by(credentials)


def signed_by(credentials: Credentials) -> Callable[[HttpRequest], bool]:
    """Return a function that accepts requests signed with these credentials, for any region, in the last 5 minutes."""

    def is_valid(request: HttpRequest) -> bool:
        headers = dict(request.headers)
        authorization = AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        if (
            not authorization
            or authorization["key"] != credentials.access_key
            or not _is_recent(headers.get("x-amz-date", ""))
            or headers.get(BODY_HASH, body_hash := hashlib.sha256(request.body).hexdigest()) != body_hash
        ):
            return False
        unsigned = AWSRequest(
            request.method,
            f"{request.scheme}://{headers['host']}{request.path}?{request.query}",
            headers={name: headers.get(name, "") for name in authorization["names"].split(";")},
            data=request.body,
        )
        unsigned.context["timestamp"] = headers["x-amz-date"]
        auth = SigV4Auth(credentials, "lambda", authorization["region"])
        signature = auth.signature(auth.string_to_sign(unsigned, auth.canonical_request(unsigned)), unsigned)
        return hmac.compare_digest(signature, authorization["signature"])

    return is_valid


def _is_recent(date: str) -> bool:
    try:
        signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(datetime.now(UTC) - signed_at) <= LONGEST_AGE
