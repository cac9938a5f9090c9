"""Tests of the image's bill of materials and of the check for known vulnerabilities."""

import json
import re

import pytest

from tests.support import ROOT
from tests.support.commands import execute, run

PINNED = re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements-serve.txt").read_text(), re.MULTILINE)

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not (ROOT / ".venv-audit/.installed").exists(), reason="the audit tools are not installed in .venv-audit"
    ),
]


def test_sbom_lists_every_package() -> None:
    """The SBOM lists the pinned packages with hashes; test_image_content.py finds them in the image."""
    run("make", "sbom")
    bill = json.loads((ROOT / "artifacts/sbom.cdx.json").read_text())
    assert ("CycloneDX", "1.6") == (bill["bomFormat"], bill["specVersion"])
    assert PINNED == [(component["name"], component["version"]) for component in bill["components"]]
    assert all(component["externalReferences"][0]["hashes"] for component in bill["components"])


def test_unreachable_database_fails() -> None:
    """`make vulnerabilities` fails if the database does not answer."""
    done = execute("make", "vulnerabilities", HTTPS_PROXY="http://127.0.0.1:9")
    assert done.returncode
    assert "ProxyError" in done.stderr
