"""Read the reference: predictions of the photos that traffic is compared with.

Git's history has the references of older model versions.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infra import ROOT
from infra.report.log_reader import Column
from lambda_app.signals import NUMERIC_FIELDS

GIT_PATH = "artifacts/reference.json"


@dataclass(frozen=True)
class Reference:
    """Photos to compare traffic with: test photos (export/drift_reference.py) or a baseline week (baseline.py)."""

    model_version: str
    columns: Mapping[str, Column]  # drift.SIGNAL_COLUMNS, and `label` for test photos; strings or floats

    def __len__(self) -> int:
        return len(self.columns["predicted_class"])

    @property
    def description(self) -> str:
        return "test photos" if "label" in self.columns else "baseline photos"

    @property
    def accuracy(self) -> float:
        return float((self.columns["predicted_class"] == self.columns["label"]).mean())

    @classmethod
    def read(cls, path: Path, *, labeled: bool = True) -> "Reference":
        """Read a reference file. Raise `ValueError` with one line that names the file and the problem."""
        try:
            return cls.parse(path.read_text(), labeled=labeled)
        except (OSError, ValueError, KeyError, TypeError) as error:
            command = "dvc repro drift_reference" if labeled else "make baseline"
            problem = f"{type(error).__name__} {error}"
            raise ValueError(f"{path}: {problem}; expected the file that `{command}` writes") from None

    @classmethod
    def parse(cls, text: str, *, labeled: bool = True) -> "Reference":
        """Parse a reference. Raise `ValueError`, `KeyError` or `TypeError` if it is incomplete."""
        values = json.loads(text)
        columns = {name: np.array(values["columns"][name], float) for name in NUMERIC_FIELDS}
        texts = ("predicted_class", "label") if labeled else ("predicted_class",)
        return cls(
            values["model_version"],
            columns | {name: np.array(values["columns"][name], object) for name in texts},
        )


def find_reference(version: str | None, current: Reference | None, root: Path = ROOT) -> Reference | None:
    """Return the reference of a version, or None if Git lacks it, as in a shallow clone.

    Return `current` if `version` is None.
    """
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
