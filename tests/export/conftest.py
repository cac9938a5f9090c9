"""A project as training leaves it, made in a second: an untrained network, drawn photos, a report."""

import json
import shutil
from contextlib import chdir

import pytest

from export import convert
from tests.drawing import write_dataset
from tests.export.models import untrained
from tests.training.workspace import link_photos, one_thread, write_params
from training import prepare
from training.evaluate import METRICS
from training.train import save_checkpoint

CHECKPOINT = {
    "train": {"architecture": "simple_cnn"},
    "class_names": ["cat", "dog"],
    "run_id": "0123456789abcdef" * 2,
    "data_hash": "f" * 64,
    "git_commit": "unknown",
}
REPORT = {
    "image_size": 32,
    "temperature": 1.7,
    "unknown_threshold": -0.25,
    "sets": {"test": {"accuracy": 0.5, "confusion_matrix": [[3, 1], [2, 4]]}},
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="session")
def converted(tmp_path_factory):
    """A project with photos, manifest, checkpoint, report and ONNX file."""
    folder = tmp_path_factory.mktemp("converted")
    write_params(folder, prepare__train_share=0.6)
    link_photos(folder, write_dataset(folder / "mine", {"cat": 30, "dog": 30}))
    with chdir(folder):
        prepare.main()
        save_checkpoint(CHECKPOINT | {"state_dict": untrained("simple_cnn", classes=2).state_dict()})
        METRICS.write_text(json.dumps(REPORT))
        convert.main()
    return folder


@pytest.fixture
def project(converted, tmp_path, monkeypatch):
    """A copy of it, the working directory of the test."""
    shutil.copytree(converted, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
