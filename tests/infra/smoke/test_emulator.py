"""Test the smoke test against a private, emulated function URL that allows one site."""

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.emulator.process import session
from tests.infra.smoke.faulty_services import smoke
from tests.support import ROOT
from tests.support.emulator import DEPLOYED, KEY_VARIABLES

pytestmark = pytest.mark.rie
SITE = "https://pets.example"
PRIVATE = ("--auth", "AWS_IAM", "--origin", SITE)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Yield the URL of the server that `make run` starts, with the settings of a deployment."""
    command = [sys.executable, "-m", "infra.emulator.serve", "--port", "0", "--auth", "AWS_IAM", "--cors-origin", SITE]
    environment = os.environ | KEY_VARIABLES | DEPLOYED
    with session(command, cwd=ROOT, env=environment) as server, server.stdout:  # type: ignore[union-attr]  # a pipe
        line = server.stdout.readline()
        reader = threading.Thread(target=server.stdout.read)  # a full pipe would block the function
        reader.start()
        yield re.search(r"^Serving (\S+) ", line)[1]
        server.send_signal(signal.SIGINT)
        reader.join()


@pytest.mark.usefixtures("keys")
def test_signed_requests_pass_every_check(url: str, tmp_path: Path) -> None:
    """Every check passes for signed requests that expect the deployed image and commit."""
    result = smoke(url, tmp_path, *PRIVATE, "--image", DEPLOYED["IMAGE"], "--commit", DEPLOYED["COMMIT"])
    assert (0, set()) == (result.code, result.failed)
    assert {"unsigned request", "CORS for a foreign site", f"CORS for {SITE}"} < result.rows.keys()


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_fail(
    url: str, keys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A signature made with other credentials gets 403, which the row shows."""
    monkeypatch.setenv(name, "WRONG")
    result = smoke(url, tmp_path, *PRIVATE, "--wait", "0.3")
    assert (1, {"GET /health"}) == (result.code, result.failed)
    assert 403 == result.rows["GET /health"]["actual"]["http"]


def test_unsigned_requests_fail(url: str, tmp_path: Path) -> None:
    """A request without a signature gets 403 and the body that AWS sends."""
    result = smoke(url, tmp_path, "--wait", "0.3")
    assert (1, {"GET /health"}) == (result.code, result.failed)
    actual = result.rows["GET /health"]["actual"]
    assert (403, '{"Message":"Forbidden"}') == (actual["http"], actual["body"])
