"""What the pull request of a retraining says, and when there is none."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.proposal import compared

ROOT = Path(__file__).parents[2]
GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@example.org")


@pytest.fixture
def checkout(tmp_path):
    """A repository of what the figures are made from, committed."""
    for folder in ("infra", "artifacts/metrics"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "lambda_app").mkdir()
    for file in ("README.md", "artifacts/bench.json", "artifacts/coverage.json", "lambda_app/model.onnx"):
        shutil.copy(ROOT / file, tmp_path / file)
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "All"]):
        subprocess.run([*GIT, *command], cwd=tmp_path, check=True)
    return tmp_path


def propose(checkout: Path) -> str:
    command = [sys.executable, "-m", "infra.proposal"]
    return subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True).stdout


def trained(checkout: Path, reason: str) -> None:
    """As a retraining leaves it: half the photos of the test split, and a verdict."""
    for name, change in {
        "verify": ('"photos": 1636', '"photos": 818'),
        "release": ('"reason": "', f'"reason": "{reason}'),
    }.items():
        path = checkout / f"artifacts/metrics/{name}.json"
        assert change[0] in path.read_text()
        path.write_text(path.read_text().replace(*change))


@pytest.mark.process
def test_a_challenger_that_serves_is_proposed_with_the_figures_of_both(checkout):
    """What was measured before stands beside what is measured now, under the verdict."""
    trained(checkout, "better: ")
    (checkout / "lambda_app/model.onnx").write_bytes(b"another")
    printed = propose(checkout)
    proposal = (checkout / "artifacts/proposal.md").read_text()
    assert proposal == printed.removesuffix("\n")
    version = json.loads((checkout / "artifacts/metrics/release.json").read_text())["model_version"]
    assert proposal.startswith(f"{version}: better: ")
    assert "\n| measure | before | now |\n" in proposal
    [row] = [line for line in proposal.splitlines() if line.startswith("| accuracy, test |")]
    assert [" of 1,636 photos ", " of 818 photos "] == [cell[cell.index(" of") :] for cell in row.split("|")[2:4]]


@pytest.mark.process
def test_a_challenger_that_lost_is_not_proposed(checkout):
    """Nor does the proposal of an earlier winner stay; the verdict is on the output."""
    trained(checkout, "worse: ")
    (checkout / "artifacts/proposal.md").write_text("an older one")
    assert ": worse: " in propose(checkout)
    assert not (checkout / "artifacts/proposal.md").exists()


def test_a_set_that_only_one_of_both_was_scored_on_has_an_empty_cell():
    """Sets come and go with EXTRA and OUTLIERS."""
    before, now = (
        "| what | measured |\n| --- | ---: |\n| {} | 1 |\n| accuracy, test | {} |".format(*row)
        for row in (("old", 2), ("new", 3))
    )
    assert ["| old | 1 |  |", "| accuracy, test | 2 | 3 |", "| new |  | 1 |"] == compared(before, now).splitlines()[2:]
