"""AWS's request signature: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html.

`SigV4` makes it for httpx2, `signed_by` judges it as a private function URL does. Its own module: importing botocore
takes 70 ms, and only who signs needs it.
"""

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
LONGEST_AGE = timedelta(minutes=5)


class SigV4(httpx2.Auth):
    """Signs for Lambda, with the credentials that botocore finds, in the region that the URL's host names.

    Any other host is taken to be in the region of the configuration. Raises ValueError where either is missing.
    """

    requires_request_body = True

    def __init__(self, url: str, *, profile: str | None = None) -> None:
        session = Session(profile=profile)
        named = HOST.match(url)
        region = named[1] if named else session.get_config_variable("region")
        self._credentials = session.get_credentials()
        if not region or not self._credentials:
            raise ValueError(
                f"{url}: to sign for it, expected https://lambda.REGION.amazonaws.com, a function URL or a configured "
                "region, and AWS credentials"
            )
        self._region = region

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        headers = {name: request.headers[name] for name in ("content-type",) if name in request.headers}
        signed = AWSRequest(request.method, str(request.url), headers=headers, data=request.content)
        SigV4Auth(self._credentials, "lambda", self._region).add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request


def signed_here() -> Callable[[HttpRequest], bool]:
    """Judges by the credentials that botocore finds. Raises ValueError where there are none."""
    credentials = Session().get_credentials()
    if not credentials:
        raise ValueError("AuthType AWS_IAM: expected AWS credentials in the environment; any will do")
    return signed_by(credentials)


def signed_by(credentials: Credentials) -> Callable[[HttpRequest], bool]:
    """Whether a request carries the signature that these credentials make, for any region, of the last minutes."""

    def judge(request: HttpRequest) -> bool:
        headers = dict(request.headers)
        given = AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        if not given or given["key"] != credentials.access_key or not _recent(headers.get("x-amz-date", "")):
            return False
        again = AWSRequest(
            request.method,
            f"{request.scheme}://{headers['host']}{request.path}?{request.query}",
            headers={name: headers.get(name, "") for name in given["names"].split(";")},
            data=request.body,
        )
        again.context["timestamp"] = headers["x-amz-date"]
        auth = SigV4Auth(credentials, "lambda", given["region"])
        signature = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
        return hmac.compare_digest(signature, given["signature"])

    return judge


def _recent(date: str) -> bool:
    try:
        made = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs(datetime.now(UTC) - made) <= LONGEST_AGE
