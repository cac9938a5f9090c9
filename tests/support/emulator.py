"""Provide the released function in Lambda's runtime, behind a function URL and an edge, and AWS's example keys."""

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
KEY_VARIABLES = {
    "AWS_ACCESS_KEY_ID": KEYS.access_key,
    "AWS_SECRET_ACCESS_KEY": KEYS.secret_key,
    "AWS_DEFAULT_REGION": "us-east-1",
}
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


def set_keys(environment: pytest.MonkeyPatch) -> None:
    for name, value in KEY_VARIABLES.items():
        environment.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        environment.delenv(name, raising=False)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set AWS's example keys, with which the emulators sign and verify."""
    set_keys(monkeypatch)


@pytest.fixture
def without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide all sources of AWS credentials."""
    for name in (*KEY_VARIABLES, "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
