"""Test the text of a retraining's pull request."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from proposal import merge_tables

from tests.support import ROOT
from tests.support.commands import GIT


@pytest.fixture
def checkout(tmp_path):
    """Return a repository whose only commit holds a copy of the sources of the figures."""
    for folder in ("infra", "lambda_app", ".github/scripts", "artifacts/metrics"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("README.md", "artifacts/bench.json", "artifacts/coverage.json"):
        shutil.copy(ROOT / file, tmp_path / file)
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "All"]):
        subprocess.run([*GIT, *command], cwd=tmp_path, check=True)
    return tmp_path


def propose(checkout: Path) -> str:
    """Run the script and return its output."""
    command = [sys.executable, ".github/scripts/proposal.py"]
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    done = subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def write_metrics(checkout: Path, reason: str) -> None:
    """Change the metrics as a retraining would: 818 photos of each data set, and a verdict."""
    for name, pattern, replacement in (
        ("verify", r'"photos": \d+', '"photos": 818'),
        ("release", '"reason": "', f'"reason": "{reason}'),
    ):
        path = checkout / f"artifacts/metrics/{name}.json"
        text, count = re.subn(pattern, replacement, path.read_text())
        assert count
        path.write_text(text)


@pytest.mark.process
def test_proposal_compares_winner_with_served_model(checkout):
    """The proposal of a challenger that won holds the verdict, and the old figures beside the new ones."""
    write_metrics(checkout, "better: ")
    (checkout / "lambda_app/model.onnx").write_bytes(b"another")
    printed = propose(checkout)
    proposal = (checkout / "artifacts/proposal.md").read_text()
    assert proposal == printed.removesuffix("\n")
    version = json.loads((checkout / "artifacts/metrics/release.json").read_text())["model_version"]
    assert proposal.startswith(f"{version}: better: ")
    assert "\n| measure | before | now |\n" in proposal
    [row] = [line for line in proposal.splitlines() if line.startswith("| accuracy, test |")]
    before, now = row.split("|")[2:4]
    assert (False, True) == (" of 818 photos " in before, " of 818 photos " in now)


@pytest.mark.process
def test_proposal_is_removed_if_challenger_lost(checkout):
    """A challenger that lost gets no proposal, an older one is removed, and the verdict is printed."""
    write_metrics(checkout, "worse: ")
    (checkout / "artifacts/proposal.md").write_text("an older one")
    assert ": worse: " in propose(checkout)
    assert not (checkout / "artifacts/proposal.md").exists()


def test_merge_tables_leaves_missing_figures_empty():
    """A figure that only one table has gets an empty cell, as after a change of EXTRA or OUTLIERS."""
    before, after = (
        "| what | measured |\n| --- | ---: |\n| {} | 1 |\n| accuracy, test | {} |".format(*row)
        for row in (("old", 2), ("new", 3))
    )
    expected = ["| old | 1 |  |", "| accuracy, test | 2 | 3 |", "| new |  | 1 |"]
    assert expected == merge_tables(before, after).splitlines()[2:]


@pytest.mark.process
def test_patch_has_all_changes(tmp_path):
    """`git apply` of the patch in another checkout restores changed, new and binary files."""
    before, after = tmp_path / "before", tmp_path / "after"
    (before / "artifacts").mkdir(parents=True)
    (before / "changed").write_text("old\n")
    (before / ".gitignore").write_text("artifacts/proposal.*\n")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "All"]):
        subprocess.run([*GIT, *command], cwd=before, check=True)
    subprocess.run([*GIT, "clone", "--quiet", before, after], check=True)
    (before / "changed").write_text("new\n")
    (before / "model.onnx").write_bytes(bytes(range(256)))
    subprocess.run(["bash", ROOT / ".github/scripts/write_patch.sh"], cwd=before, check=True)
    subprocess.run([*GIT, "apply", before / "artifacts/proposal.patch"], cwd=after, check=True)
    assert ("new\n", bytes(range(256))) == ((after / "changed").read_text(), (after / "model.onnx").read_bytes())
