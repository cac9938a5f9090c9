"""Provide projects after each stage of the pipeline, with drawn photos and small networks."""

import shutil
from contextlib import chdir
from functools import cache

import numpy as np
import onnx
import pytest

from export import convert, quantize
from export.files import CANDIDATES, CARD, MODEL, RELEASED
from tests.export.challengers import copy_with_store, release_file, write_sources
from tests.export.untrained_models import LENIENT, METADATA, SIZE, TEMPERATURE, untrained, write_noise
from tests.support.drawing import LABELS, write_dataset
from tests.support.mlflow_stores import write_store
from tests.training.workspace import enter_copy, link_photos, reduce_overhead, write_params  # noqa: F401  # a fixture
from training import evaluate, prepare, train
from training.calibration import Calibration
from training.figures import write_figures
from training.model import CHECKPOINT
from training.state import save_atomically

TRAINED = {
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
    "outliers": {"flowers": {"photos": 3, "unknown_rate": 2 / 3}},
}


@pytest.fixture(scope="session")
def export_untrained(tmp_path_factory):
    """Return a function that exports an untrained network once, and returns network, file and calibration."""

    @cache
    def export(architecture, frozen_classes):
        familiar = tuple(np.linspace(0, 1, frozen_classes).tolist())
        calibration = Calibration(TEMPERATURE, familiar, METADATA.unknown_threshold)
        module = convert.ExportedNetwork(untrained(architecture, 3, SIZE, frozen_classes), calibration).eval()
        program = convert.export_onnx(module, SIZE, opset=20)
        convert.replace_metadata(program, METADATA)
        path = tmp_path_factory.mktemp(architecture) / "model.onnx"
        onnx.save(program, path)
        return module, path, calibration

    return export


@pytest.fixture(scope="session")
def converted(tmp_path_factory):
    """Return a project with an untrained network: photos, manifest, checkpoint, report and ONNX file."""
    folder = tmp_path_factory.mktemp("converted")
    write_params(folder, prepare__train_share=0.6)
    link_photos(folder, write_dataset(folder / "mine", {"cat": 30, "dog": 30}))
    with chdir(folder):
        prepare.main()
        save_atomically(TRAINED | {"state_dict": untrained("simple_cnn", classes=2).state_dict()}, CHECKPOINT)
        write_figures("evaluate", REPORT)
        Calibration(REPORT["temperature"], (), REPORT["unknown_threshold"]).write()
        convert.main()
    return folder


@pytest.fixture
def project(converted, tmp_path, monkeypatch):
    """Make a copy of the project the working directory, and return it."""
    return enter_copy(converted, tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return a project whose network was trained on drawings of three classes. All 34 test photos are correct."""
    folder = tmp_path_factory.mktemp("trained")
    write_params(folder, prepare__train_share=0.6, release__margin=0.05)  # 34 photos cannot prove a smaller one
    link_photos(folder, write_dataset(folder / "mine", dict.fromkeys(LABELS, 60)))
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", write_store(folder))
        for stage in (prepare, train, evaluate, convert):
            stage.main()
        for parent in (CANDIDATES, CARD.parent, RELEASED.parent):
            parent.mkdir()
    return folder


@pytest.fixture
def store(trained, tmp_path):
    """Make a copy of the trained project with its own MLflow store the working directory."""
    with copy_with_store(trained, tmp_path):
        yield


@pytest.fixture(scope="session")
def released(trained, tmp_path_factory):
    """Return a project with a released model and the sources of the card."""
    folder = tmp_path_factory.mktemp("released")
    with copy_with_store(trained, folder):
        write_sources()
        release_file(MODEL)
    return folder


@pytest.fixture
def in_released(released, monkeypatch):
    """Use the released project and its MLflow store; tests must not change them."""
    monkeypatch.chdir(released)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{released}/mlflow.db")


@pytest.fixture(scope="session")
def quantized(trained, tmp_path_factory):
    """Return the trained project with all candidates, a further set whose rabbits are labeled as cats, and outliers."""
    folder = tmp_path_factory.mktemp("quantized")
    shutil.copytree(trained, folder, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("mlruns"))
    abroad = write_dataset(folder / "data/raw/extra/abroad", dict.fromkeys(LABELS, 8), size=96)
    for path in (abroad / "rabbit").iterdir():
        path.rename(abroad / f"cat/rabbit {path.name}")
    write_noise(folder / "data/raw/outliers/noise", 8)
    write_params(folder, prepare__train_share=0.6, **LENIENT)
    with chdir(folder):
        quantize.main()
    return folder


@pytest.fixture
def candidates(quantized, tmp_path, monkeypatch):
    """Make a copy of the project the working directory, and return it."""
    return enter_copy(quantized, tmp_path, monkeypatch)
