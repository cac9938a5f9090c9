"""AWS's request signature for httpx2: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html.

Its own module, because botocore is wanted for AWS alone and is not installed to serve or to run locally.
"""

import re
from collections.abc import Generator

import httpx2
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session


class SigV4(httpx2.Auth):
    """Signs for Lambda in the region that the URL's host names, with the credentials that botocore finds."""

    requires_request_body = True

    def __init__(self, url: str) -> None:
        region = re.match(r"https?://lambda\.([a-z0-9-]+)\.", url)
        self._credentials = Session().get_credentials()
        if not region or not self._credentials:
            raise ValueError(f"{url}: to sign for it, expected https://lambda.REGION.amazonaws.com and AWS credentials")
        self._region = region[1]

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        headers = {"content-type": request.headers["content-type"]}
        signed = AWSRequest(request.method, str(request.url), headers=headers, data=request.content)
        SigV4Auth(self._credentials, "lambda", self._region).add_auth(signed)
        request.headers.update(dict(signed.headers))
        yield request
