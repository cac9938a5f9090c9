"""Tests that `make train CONTRIBUTED=1` and the workflow Retrain use the accepted contributions."""

import subprocess

import pytest
import yaml

from tests.training.workspace import ROOT


def make(folder, *arguments):
    """Return the sources and the options with which `make train` would call `training.fetch` in a folder."""
    show = '--eval=show:;@echo "$(DATA)" $(if $(CONTRIBUTED),--contributed)'
    command = ["make", "--no-print-directory", f"--directory={folder}", f"--file={ROOT / 'Makefile'}", show, "show"]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.process
def test_contributions_need_photos(tmp_path):
    """CONTRIBUTED=1 without DATA, which would train on contributions only, is an error that names the variable."""
    with pytest.raises(subprocess.CalledProcessError) as error:
        make(tmp_path, "CONTRIBUTED=1")
    assert "CONTRIBUTED=1, but DATA is empty: expected DATA=" in error.value.stderr


@pytest.mark.process
def test_contributions_are_a_second_source(tmp_path):
    """CONTRIBUTED=1 adds the accepted photos, if any, to DATA; without it, they are not used."""
    assert "a b --contributed" == make(tmp_path, "DATA=a b", "CONTRIBUTED=1")
    (tmp_path / "data/contributions/accepted").mkdir(parents=True)
    assert "a b data/contributions/accepted --contributed" == make(tmp_path, "DATA=a b", "CONTRIBUTED=1")
    assert "a b" == make(tmp_path, "DATA=a b")


def test_workflow_pulls_and_uses_contributions():
    """Retrain pulls the photos in DVC's storage before it trains, and trains with CONTRIBUTED=1."""
    steps = yaml.safe_load((ROOT / ".github/workflows/retrain.yml").read_text())["jobs"]["train"]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands.index("make dvc-pull") < next(i for i, c in enumerate(commands) if c.startswith("make train"))
    assert any(c.startswith("make train") and c.endswith("CONTRIBUTED=1") for c in commands)


def test_release_stage_depends_on_contributions():
    """DVC runs the comparison again when the held-back contributions or the code that reads them change."""
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["release"]
    assert {"data/raw/held-back", "export/checks/corrections.py", "training/harvest/data_set.py"} <= set(stage["deps"])
