"""Provide a project with drawings of cats and dogs, a DVC repository and an empty bucket."""

import shutil
import subprocess
from contextlib import chdir

import boto3
import pytest

from tests.support import ROOT
from tests.support.commands import ISOLATED
from tests.training.harvest.contributions import BUCKET
from tests.training.workspace import enter_copy, link_photos, write_params
from training import prepare


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, photos):
    """Return a project in which `prepare` ran. Its network is untrained, so the label audit uses thumbnails."""
    folder = tmp_path_factory.mktemp("prepared")
    write_params(folder, train__architecture="logistic", prepare__train_share=0.6)
    link_photos(folder, photos)
    (folder / ".dvc").mkdir()
    for name in (".dvc/.gitignore", ".dvc/config", ".gitignore"):
        shutil.copyfile(ROOT / name, folder / name)
    with chdir(folder):
        prepare.main()
        subprocess.run(["git", "init", "--quiet"], check=True)
    return folder


@pytest.fixture
def checkout(prepared, tmp_path, monkeypatch, aws):
    """Make a copy of the project the working directory; `aws` is an account with an empty bucket."""
    enter_copy(prepared, tmp_path, monkeypatch)
    for name, value in ISOLATED.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return tmp_path
