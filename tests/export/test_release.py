"""Release: the verified file is what serving gets, and MLflow knows which one it is."""

import shutil
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest

from export import release
from export.convert import MODEL
from export.release import RELEASED
from lambda_app.classifier import Classifier
from tests.export.models import restamp
from tests.training.workspace import MLFLOW_WARNINGS
from training.source import sha256
from training.tracking import start_run

pytestmark = pytest.mark.filterwarnings(*MLFLOW_WARNINGS)


@pytest.fixture(scope="module")
def released(converted, tmp_path_factory):
    """A project after two releases, in a store of its own: the files in their order, and the run of both."""
    folder = tmp_path_factory.mktemp("released")
    shutil.copytree(converted, folder, symlinks=True, dirs_exist_ok=True)
    (folder / RELEASED.parent).mkdir()
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        with start_run() as run:
            pass
        files = []
        for version in ("2026.01.30-first", "2026.01.31-second"):
            restamp(MODEL, model_version=version, run_id=run.info.run_id)
            files.append(MODEL.read_bytes())
            release.main()
        yield SimpleNamespace(folder=folder, files=files, run_id=run.info.run_id, client=mlflow.MlflowClient())


def test_copied(released):
    """lambda_app/model.onnx is the newest file, whole, and nothing else lies beside it."""
    assert released.files[1] == (released.folder / RELEASED).read_bytes()
    assert [released.folder / RELEASED] == list((released.folder / RELEASED.parent).iterdir())


def test_serves(released):
    """What was released loads where it is served."""
    assert "2026.01.31-second" == Classifier.load(released.folder / RELEASED).metadata.model_version


@pytest.mark.parametrize(("number", "version"), [("1", "2026.01.30-first"), ("2", "2026.01.31-second")])
def test_versions(released, number, version):
    """Each release is a version of the registered model, tagged with the file's own, in the run that trained it."""
    registered = released.client.get_model_version("pet-classifier", number)
    assert version == registered.tags["model_version"]
    assert released.run_id == registered.run_id


def test_tagged_with_the_file(released):
    """The version's tag is the SHA-256 of the file that serves."""
    registered = released.client.get_model_version("pet-classifier", "2")
    assert sha256(released.folder / RELEASED) == registered.tags["sha256"]


def test_alias(released):
    """The alias moved to the newest version."""
    assert "2" == str(released.client.get_model_version_by_alias("pet-classifier", "champion").version)


def test_registered_file(released):
    """What MLflow gives out under the alias is the file that serves, byte for byte."""
    folder = Path(mlflow.artifacts.download_artifacts("models:/pet-classifier@champion"))
    assert sha256(released.folder / RELEASED) == sha256(folder / "model.onnx")
