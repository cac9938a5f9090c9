"""The smoke test against the function in Lambda's runtime, behind a private function URL that allows one site."""

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from infra.emulator import serve
from infra.emulator.process import session
from tests.infra.smoke.conftest import KEYS
from tests.infra.smoke.services import smoke
from tests.infra.test_runtime import needs_rie

pytestmark = needs_rie
ROOT = Path(__file__).parents[3]
IMAGE, COMMIT = "registry.example/pets@sha256:0", "0123abc"
SITE = "https://pets.example"
PRIVATE = ("--auth", "AWS_IAM", "--origin", SITE)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """What `make run` starts, with the settings of a deployment."""
    command = [sys.executable, "-m", "infra.emulator.serve", "--port", "0", "--auth", "AWS_IAM", "--cors-origin", SITE]
    environment = os.environ | KEYS | {"IMAGE": IMAGE, "COMMIT": COMMIT}
    with session(command, cwd=ROOT, env=environment) as server, server.stdout:  # type: ignore[union-attr]  # a pipe
        line = server.stdout.readline()
        reader = threading.Thread(target=server.stdout.read)  # a full pipe would stop the function
        reader.start()
        yield re.search(r"^Serving (\S+) ", line)[1]
        server.send_signal(signal.SIGINT)
        reader.join()


@pytest.mark.usefixtures("keys")
def test_everything_passes(url: str, tmp_path: Path) -> None:
    """Signed, with the image and the commit that were deployed, every check passes."""
    result = smoke(url, tmp_path, *PRIVATE, "--image", IMAGE, "--commit", COMMIT)
    assert (0, set()) == (result.code, result.failed)
    assert {"unsigned request", "CORS for a foreign site", f"CORS for {SITE}"} < result.rows.keys()


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_keys(url: str, keys: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A signature by somebody else is refused, and the row says so."""
    monkeypatch.setenv(name, "WRONG")
    result = smoke(url, tmp_path, *PRIVATE, "--wait", "0.3")
    assert (1, {"GET /health"}) == (result.code, result.failed)
    assert 403 == result.rows["GET /health"]["actual"]["http"]


def test_unsigned(url: str, tmp_path: Path) -> None:
    """So is no signature at all, in AWS's words."""
    result = smoke(url, tmp_path, "--wait", "0.3")
    assert (1, {"GET /health"}) == (result.code, result.failed)
    assert '{"Message":"Forbidden"}' == result.rows["GET /health"]["actual"]["body"]
    answer = httpx2.get(f"{url}/health", trust_env=False, timeout=600)
    assert (403, {"Message": "Forbidden"}) == (answer.status_code, answer.json())


def test_cors_is_that_of_the_template(url: str) -> None:
    """The emulator allows the site no less than the deployed URL will."""
    template = (ROOT / "template.yaml").read_text()
    asked = {"origin": SITE, "access-control-request-method": "POST"}
    answer = httpx2.options(f"{url}/predict", headers=asked, trust_env=False, timeout=600)
    for name in ("Methods", "Headers"):
        allowed = re.search(rf"Allow{name}: \[(.*)\]", template)[1].split(", ")
        assert set(allowed) <= set(answer.headers[f"access-control-allow-{name.lower()}"].split(", "))


def test_private_without_credentials(
    keys: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nobody to let through then, and one line says so."""
    for name in keys:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert 1 == serve.main(["--port", "0", "--auth", "AWS_IAM"])
    expected = "serve: AuthType AWS_IAM: expected AWS credentials in the environment; any will do\n"
    assert expected == capsys.readouterr().err
