"""Test that `make train CONTRIBUTED=1`, `make suspects` and the workflow Retrain use the accepted contributions."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT
from tests.support.drawing import write_dataset
from tests.support.github import steps
from training import fetch
from training.config import HELD_BACK
from training.harvest.contributed_photo import HarvestError
from training.harvest.data_set import CONTRIBUTIONS, link_held_back
from training.harvest.ledger import ACCEPTED, LEDGER, LedgerRow, write_ledger
from training.interruption import UserError

TARGETS = ("train", "suspects")


def make(folder, target, *arguments):
    """Return the sources and the options after them with which `make` would call `training.fetch` in a folder."""
    command = ["make", "--dry-run", f"--directory={folder}", f"--file={ROOT / 'Makefile'}", target, *arguments]
    command += [f"--old-file={environment}" for environment in (".venv/.train", ".venv-sam/.installed")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    match = re.search(r"training\.fetch --data \"(.*?)\".*--outliers(.*)", printed.replace("\\\n", ""))
    return match[1], match[2].split()


def test_contributions_need_photos(tmp_path):
    """CONTRIBUTED=1 without DATA, which would train on contributions only, is an error that names the variable."""
    with pytest.raises(subprocess.CalledProcessError) as error:
        make(tmp_path, "train", "CONTRIBUTED=1")
    assert "CONTRIBUTED=1, but DATA is empty: expected DATA=" in error.value.stderr


def test_contributions_have_to_be_pulled(tmp_path):
    """If the folder of accepted photos was not pulled, make stops and names the command."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/contributions.dvc").touch()
    with pytest.raises(subprocess.CalledProcessError) as error:
        make(tmp_path, "train", "DATA=a", "CONTRIBUTED=1")
    assert "data/contributions.dvc are not in this checkout: run `make dvc-pull` first" in error.value.stderr
    assert ("a", []) == make(tmp_path, "train", "DATA=a")


def test_incomplete_contributions_stop_the_training(project, monkeypatch):
    """If accepted photos are missing, the training stops before it links photos, and names the command."""
    LEDGER.parent.mkdir()
    write_ledger([LedgerRow("a" * 64, "b" * 64, ACCEPTED)])
    monkeypatch.setattr(sys, "argv", ["fetch", "--data", "any", "--contributed"])
    with pytest.raises(HarvestError, match=r"data/contributions lacks 1 of 1 accepted photos.*`make dvc-pull` first"):
        fetch.main()
    assert not HELD_BACK.exists()


@pytest.mark.parametrize("target", TARGETS)
def test_contributions_are_a_second_source(tmp_path, target):
    """CONTRIBUTED=1 adds the accepted photos, if any, to DATA, and links the held-back ones; otherwise neither."""
    assert ("a b", ["--contributed"]) == make(tmp_path, target, "DATA=a b", "CONTRIBUTED=1")
    (tmp_path / "data/contributions/accepted").mkdir(parents=True)
    expected = ("a b data/contributions/accepted", ["--contributed"])
    assert expected == make(tmp_path, target, "DATA=a b", "CONTRIBUTED=1")
    assert ("a b", []) == make(tmp_path, target, "DATA=a b")


def test_held_back_photos_stay_until_the_next_data(project, monkeypatch):
    """Without DATA, `training.fetch` keeps the link to the held-back contributions; the next DATA removes it."""
    Path("data").mkdir()
    Path("data/datasets.yaml").write_text("{}")
    (CONTRIBUTIONS / "held-back").mkdir(parents=True)
    photos = str(write_dataset(project / "mine", {"cat": 1}))
    for arguments, expected in ((["--data", photos, "--contributed"], True), ([], True), (["--data", photos], False)):
        monkeypatch.setattr(sys, "argv", ["fetch", *arguments])
        fetch.main()
        assert expected == HELD_BACK.is_symlink()
    assert HELD_BACK.is_dir()


def test_hidden_files_do_not_stop_the_training(project):
    """The link to the held-back contributions replaces a folder with hidden files, such as those of a file manager."""
    (CONTRIBUTIONS / "held-back").mkdir(parents=True)
    HELD_BACK.mkdir(parents=True)
    (HELD_BACK / ".DS_Store").write_bytes(b"Bud1")
    link_held_back(use=True)
    assert HELD_BACK.is_symlink()


def test_files_at_the_link_are_not_deleted(project):
    """Files in the place of the link are not deleted; the error says what to do."""
    write_dataset(HELD_BACK, {"cat": 1})
    with pytest.raises(UserError, match="data/raw/held-back holds files; expected a link or an empty folder; move"):
        link_held_back(use=False)
    assert [HELD_BACK / "cat/0.jpg"] == list(HELD_BACK.rglob("*.jpg"))


def test_workflow_pulls_and_uses_contributions():
    """Retrain pulls the photos in DVC's storage before it trains, and trains with CONTRIBUTED=1."""
    commands = [step.run for step in steps("retrain", "train")]
    assert commands.index("make dvc-pull") < next(i for i, c in enumerate(commands) if c.startswith("make train"))
    assert any(c.startswith("make train") and c.endswith("CONTRIBUTED=1") for c in commands)


def test_release_stage_depends_on_contributions():
    """DVC runs the comparison again when the held-back contributions change."""
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["release"]
    assert "data/raw/held-back" in stage["deps"]
