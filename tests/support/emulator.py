"""Provide the released function in Lambda's runtime, behind a function URL and an edge, as fixtures of the session."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import pytest
from botocore.credentials import Credentials

from infra.emulator.cloudfront import create_edge
from infra.emulator.runtime import Runtime, lambda_runtime
from infra.emulator.serve import background, local_app
from infra.emulator.sigv4 import signed_by
from tests.support.waiting import DEADLINE_S

KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")  # of AWS's documentation
DEPLOYED = {"IMAGE": "registry.example/pets@sha256:0", "COMMIT": "0123abc"}


@dataclass(frozen=True)
class Function:
    url: str
    runtime: Runtime
    environment: dict[str, str]  # variables that a deployment sets


@pytest.fixture(scope="session")
def function() -> Iterator[Function]:
    """Start the released function, and wait for a first request, because some clients do not wait for a cold start."""
    with lambda_runtime(env=DEPLOYED, timeout_s=DEADLINE_S) as runtime, background(local_app(runtime)) as url:
        httpx2.get(f"{url}/health", trust_env=False, timeout=DEADLINE_S).raise_for_status()
        yield Function(url, runtime, DEPLOYED)


@pytest.fixture(scope="session")
def edge(function: Function) -> Iterator[str]:
    """Yield the URL of emulated CloudFront, in front of the function's private URL."""
    private = local_app(function.runtime, authorized=signed_by(KEYS))
    with background(private) as url, background(create_edge(url, KEYS)) as address:
        yield address
