"""Test the image's bill of materials, its version and its base, and the check for known vulnerabilities."""

import json
import re

import pytest

import lambda_app
from tests.support import ROOT
from tests.support.commands import execute, run
from tests.support.http_server import refusing_url
from tests.support.serving_requirements import PINNED

MAKE = ("make", "-o", ".venv-audit/.installed")  # without installing anything

pytestmark = pytest.mark.process
needs_audit_tools = pytest.mark.skipif(
    not (ROOT / ".venv-audit/.installed").exists(), reason="the audit tools are not installed in .venv-audit"
)


@needs_audit_tools
def test_sbom_lists_every_package() -> None:
    """The SBOM lists the pinned packages with hashes; test_image_content.py finds them in the image."""
    run(*MAKE, "sbom")
    bill = json.loads((ROOT / "artifacts/sbom.cdx.json").read_text())
    assert ("CycloneDX", "1.6") == (bill["bomFormat"], bill["specVersion"])
    assert [*PINNED.items()] == [(component["name"], component["version"]) for component in bill["components"]]
    assert all(component["externalReferences"][0]["hashes"] for component in bill["components"])


@needs_audit_tools
def test_unreachable_database_fails() -> None:
    """`make vulnerabilities` fails if the database does not answer."""
    with refusing_url() as url:
        done = execute(*MAKE, "vulnerabilities", HTTPS_PROXY=url)
    assert done.returncode
    assert "ProxyError" in done.stderr


def test_every_dockerfile_has_the_same_base() -> None:
    """All images are built on the same Debian release."""
    texts = [(ROOT / name).read_text() for name in run("git", "ls-files", "*Dockerfile*").split()]
    bases = {base for text in texts for base in re.findall(r"^ARG BASE=(.*)$", text, re.MULTILINE)}
    assert ["debian:trixie-slim"] == sorted(bases)


def test_make_image_passes_software_version() -> None:
    """`make image` passes `lambda_app.__version__` as a build argument."""
    assert f"--build-arg VERSION={lambda_app.__version__} ." in run("make", "--dry-run", "image")
