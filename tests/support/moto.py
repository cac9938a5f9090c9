"""Use moto's server, which replaces AWS."""

from typing import Any

import httpx2
from botocore.session import Session

from tests.support.waiting import DEADLINE_S


def empty_account(endpoint: str) -> None:
    """Remove every resource of the account."""
    httpx2.post(f"{endpoint}/moto-api/reset", trust_env=False, timeout=DEADLINE_S).raise_for_status()


def s3_client(endpoint: str) -> Any:
    session = Session()
    session.set_credentials("test", "test")
    return session.create_client("s3", "us-east-1", endpoint_url=endpoint)
