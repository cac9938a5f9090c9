"""Find the reference of the serving model version, in this checkout or in Git's history."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

from infra import ROOT
from infra.report.drift import Reference

GIT_PATH = "artifacts/reference.json"


def find_reference(version: str | None, current: Reference | None, root: Path = ROOT) -> Reference | None:
    """Return the reference of a version, or None if Git lacks it, as in a shallow clone."""
    if version is None or (current and current.model_version == version):
        return current
    references = _committed_references(root)
    return next((reference for reference in references if reference.model_version == version), None)


def _committed_references(root: Path) -> Iterator[Reference]:
    """Yield the committed references, newest first. Skip commits without a valid one."""
    for commit in _run_git(root, "log", "--format=%H", "--", GIT_PATH).split():
        try:
            yield Reference.parse(_run_git(root, "show", f"{commit}:{GIT_PATH}"))
        except (ValueError, KeyError, TypeError):
            continue


def _run_git(root: Path, *arguments: str) -> str:
    """Return the output of a Git command, or an empty string if it fails."""
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
