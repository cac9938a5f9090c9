"""Provide `training.fetch` as a function, in an empty project without a network."""

import sys

import pytest

from tests.support import ROOT
from training import fetch


@pytest.fixture
def run(project, offline, monkeypatch):
    """Return `python -m training.fetch` as a function, in an empty project that can only reach this machine."""
    (project / "data").mkdir()
    (project / "data/datasets.yaml").write_text((ROOT / "data/datasets.yaml").read_text())

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fetch", *map(str, arguments)])
        fetch.main()

    return run
