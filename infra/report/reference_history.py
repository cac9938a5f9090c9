"""The test photos of the version that serves: this checkout's, or an older model's from Git's history."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from infra.emulator.runtime import ROOT
from infra.report.drift import Reference

REFERENCE = Path("artifacts/reference.json")


def find(version: str | None, current: Reference | None, root: Path = ROOT) -> Reference | None:
    """None where Git knows none either, or there is no Git: in a shallow clone it is not there."""
    if version is None or (current and current.model_version == version):
        return current
    return next((found for found in _earlier(root) if found.model_version == version), None)


def _earlier(root: Path) -> Iterator[Reference]:
    """Newest first; what is none any more, or not yet, is passed over."""
    for commit in _git(root, "log", "--format=%H", "--", str(REFERENCE)).split():
        try:
            yield Reference.parse(_git(root, "show", f"{commit}:{REFERENCE}"))
        except (ValueError, KeyError, TypeError):
            continue


def _git(root: Path, *arguments: str) -> str:
    """What it prints; nothing where it fails."""
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
