"""Test the summary that `make train` prints; tests/test_pipeline.py tests the figures for `dvc metrics show`."""

import subprocess

import pytest

from export.training_summary import list_changes, render_summary
from tests.support import ROOT
from training.figures import read_figures

TEST = {"accuracy": 0.975, "photos": 1600, "accuracy_interval": [0.96625, 0.98125]}
RELEASE = {"promoted": True, "model_version": "2026.01.31-01234567", "reason": "better"}


def test_summary_of_a_promoted_model():
    """The summary has the accuracy, the decision, the changed files, and the command that tries the model."""
    assert [
        "",
        "accuracy: 97.50 % of 1,600 test photos (95 % interval 96.62 to 98.12 %)",
        "model:    2026.01.31-01234567 serves now",
        "reason:   better",
        "changed:  lambda_app/model.onnx, dvc.lock",
        "next:     make demo PHOTO=PHOTO.jpg",
    ] == render_summary(TEST, RELEASE, ["lambda_app/model.onnx", "dvc.lock"]).splitlines()


def test_summary_of_a_rejected_model():
    """If the challenger lost, the summary states that the previous model serves, and how to overrule this."""
    lines = render_summary(TEST, RELEASE | {"promoted": False}, []).splitlines()
    assert "model:    2026.01.31-01234567 is NOT served; the previous model still serves" in lines
    assert "changed:  nothing" in lines
    assert "next:     make promote, to serve it anyway, or make demo PHOTO=PHOTO.jpg" in lines


def test_changes_are_empty_outside_a_repository(tmp_path, monkeypatch):
    """Outside a Git repository, the summary lists no changed files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert [] == list_changes()


@pytest.mark.parametrize("target", ["promote", "rollback"])
def test_manual_release_updates_the_summary(target):
    """After `make promote` and `make rollback` have written release.json, they write the summary from it."""
    command = ["make", "--dry-run", "--old-file=.venv/.train", "--old-file=.venv-sam/.installed", target]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    modules = [line.split()[2] for line in printed.splitlines() if " -m " in line]
    assert modules.index("export.release") < modules.index("export.training_summary")


def test_summary_of_training_photos_is_committed(released_classifier):
    """artifacts/metrics/prepare.json lists the classes of the released model."""
    summary = read_figures("prepare")
    assert list(released_classifier.metadata.class_names) == list(summary["classes"])
