"""Reset the state of moto's server, which replaces AWS."""

import httpx2

from tests.support.waiting import DEADLINE_S


def empty_account(endpoint: str) -> None:
    """Remove every resource of the account."""
    httpx2.post(f"{endpoint}/moto-api/reset", trust_env=False, timeout=DEADLINE_S).raise_for_status()
