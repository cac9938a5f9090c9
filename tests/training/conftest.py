"""Provide project folders for the tests of training: an empty one per test, and a trained one that all share."""

import socket
from contextlib import chdir

import pytest

from tests.support.drawing import write_dataset
from tests.support.mlflow_stores import write_store
from tests.training.workspace import link_photos, reduce_overhead, write_params  # noqa: F401  # a fixture
from training import config, evaluate, prepare, train


@pytest.fixture(autouse=True)
def _no_unpacked_archives(tmp_path_factory, monkeypatch):
    """Keep unpacked archives out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return an empty folder with params.yaml, which is the working directory of the test."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    return tmp_path


@pytest.fixture
def params(project):
    """Return the section `train` of the project."""
    return config.load(config.Train)


@pytest.fixture
def offline(project, monkeypatch):
    """Send all connections to a closed port, and hide earlier downloads."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(project))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # otherwise it retries for a minute
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed.getsockname()[1]}")
        yield


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Return a folder with 40 cats and 40 dogs."""
    return write_dataset(tmp_path_factory.mktemp("photos"), {"cat": 40, "dog": 40})


@pytest.fixture(scope="session")
def trained(tmp_path_factory, photos):
    """Return a project after prepare, train and evaluate, with its own MLflow store."""
    folder = tmp_path_factory.mktemp("trained")
    write_params(folder, prepare__train_share=0.6)
    link_photos(folder, photos)
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        # Absolute, because MLflow caches stores by address, whatever the working directory is.
        patch.setenv("MLFLOW_TRACKING_URI", write_store(folder))
        prepare.main()
        train.main()
        evaluate.main()
    return folder
