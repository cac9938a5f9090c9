"""Fixtures: the released model behind the real app, and AWS's example credentials."""

import pytest
from starlette.types import ASGIApp

from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings
from tests.support import emulator

KEYS = {
    "AWS_ACCESS_KEY_ID": emulator.KEYS.access_key,
    "AWS_SECRET_ACCESS_KEY": emulator.KEYS.secret_key,
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(scope="session")
def released(released_classifier: Classifier) -> ASGIApp:
    return create_app(released_classifier, Settings(log_level="ERROR"))


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return KEYS


@pytest.fixture
def without_keys(keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide all sources of AWS credentials."""
    for name in keys:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
