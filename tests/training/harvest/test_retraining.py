"""Tests that `make train CONTRIBUTED=1` and the workflow Retrain use the accepted contributions."""

import subprocess
import sys

import pytest
import yaml

from tests.training.workspace import ROOT
from training import fetch
from training.harvest.contributed_photo import HarvestError
from training.harvest.data_set import HELD_BACK
from training.harvest.ledger import ACCEPTED, LEDGER, Decided, write_ledger


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
def test_contributions_have_to_be_pulled(tmp_path):
    """If the folder of accepted photos was not pulled, make stops and names the command."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/contributions.dvc").touch()
    with pytest.raises(subprocess.CalledProcessError) as error:
        make(tmp_path, "DATA=a", "CONTRIBUTED=1")
    assert "data/contributions.dvc are not in this checkout: run `make dvc-pull` first" in error.value.stderr
    assert "a" == make(tmp_path, "DATA=a")


def test_incomplete_contributions_stop_the_training(project, monkeypatch):
    """If accepted photos are missing, the training stops before it links photos, and names the command."""
    LEDGER.parent.mkdir()
    write_ledger([Decided("a" * 64, "b" * 64, ACCEPTED)])
    monkeypatch.setattr(sys, "argv", ["fetch", "--data", "any", "--contributed"])
    with pytest.raises(HarvestError, match=r"data/contributions lacks 1 of 1 accepted photos.*`make dvc-pull` first"):
        fetch.main()
    assert not HELD_BACK.exists()


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
