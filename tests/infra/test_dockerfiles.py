"""Test what all Dockerfiles share."""

import re
import subprocess

from tests.support import ROOT


def test_every_dockerfile_has_the_same_base():
    """All images are built on the same Debian release."""
    names = subprocess.run(["git", "ls-files", "*Dockerfile*"], cwd=ROOT, check=True, capture_output=True, text=True)
    texts = [(ROOT / name).read_text() for name in names.stdout.split()]
    bases = {base for text in texts for base in re.findall(r"^ARG BASE=(.*)$", text, re.MULTILINE)}
    assert ["debian:trixie-slim"] == sorted(bases)
