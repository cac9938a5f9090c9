"""Test AWS's request signature: signing, and verification as by a private function URL."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import botocore.auth
import httpx2
import pytest
from botocore.credentials import Credentials

from infra.emulator.event import HttpRequest
from infra.emulator.sigv4 import SigV4, signed_by
from tests.support.emulator import KEYS

pytestmark = pytest.mark.usefixtures("keys")

URL = "https://abc123.lambda-url.eu-west-1.on.aws"


def signed(method: str = "POST", path: str = "/predict", query: str = "a=1", body: bytes = b"photo") -> HttpRequest:
    headers = {"content-type": "image/jpeg"} if body else {}
    request = httpx2.Request(method, f"{URL}{path}?{query}", headers=headers, content=body)
    next(SigV4(URL).auth_flow(request))
    return HttpRequest(method, path, query, tuple(request.headers.items()), body)


def header(request: HttpRequest, name: str) -> str:
    return dict(request.headers)[name]


def with_header(request: HttpRequest, name: str, value: str) -> HttpRequest:
    return replace(request, headers=tuple((dict(request.headers) | {name: value}).items()))


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"method": "GET", "body": b""},
        {"path": "/a%20b/c"},
        {"query": ""},
        {"query": "b=2&a=%2F"},
        {"body": bytes(9)},
    ],
)
def test_signature_is_accepted(request_: dict) -> None:
    """A valid signature is accepted for every method, path, query and body."""
    assert signed_by(KEYS)(signed(**request_))


def test_region_is_taken_from_url() -> None:
    """The signature names the region in the function URL."""
    assert "/eu-west-1/lambda/aws4_request, " in header(signed(), "authorization")


def test_signing_requires_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL without a region, and no configured region, is an error that names the URL and the expectation."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ValueError, match=r"http://127\.0\.0\.1: .* expected https://lambda\.REGION\.amazonaws\.com"):
        SigV4("http://127.0.0.1")


@pytest.mark.parametrize(
    "change",
    [
        lambda request: replace(request, headers=()),
        lambda request: replace(request, method="PUT"),
        lambda request: replace(request, path="/other"),
        lambda request: replace(request, query="a=2"),
        lambda request: replace(request, body=b"another"),
        lambda request: with_header(request, "host", "other.lambda-url.eu-west-1.on.aws"),
        lambda request: with_header(request, "content-type", "image/png"),
        lambda request: with_header(request, "authorization", "Bearer token"),
        lambda request: with_header(
            request, "authorization", header(request, "authorization").replace("AKIDEXAMPLE", "AKIDOTHER")
        ),
        lambda request: with_header(request, "x-amz-date", "yesterday"),
    ],
)
def test_changed_request_is_rejected(change) -> None:
    """A signature is valid only for the signed request and its key."""
    assert not signed_by(KEYS)(change(signed()))


def test_other_secret_is_rejected() -> None:
    """A signature with the right key ID and another secret is rejected."""
    assert not signed_by(Credentials(KEYS.access_key, "other"))(signed())


def test_old_signature_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature is rejected after five minutes."""
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda: datetime.now(UTC) - timedelta(minutes=6), raising=True
    )
    assert not signed_by(KEYS)(signed())


def test_session_token_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session token of temporary credentials is part of the signature."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    request = signed()
    assert "token" == header(request, "x-amz-security-token")
    assert signed_by(KEYS)(request)
    assert not signed_by(KEYS)(with_header(request, "x-amz-security-token", "other"))
