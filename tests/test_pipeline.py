"""Run `dvc repro` on drawings of three classes in a separate repository, and check the released model."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import yaml

from lambda_app.classifier import Classifier
from lambda_app.preprocess import preprocess
from tests.export.untrained_models import LENIENT
from tests.support import ROOT
from tests.support.commands import GIT, ISOLATED, PROGRAMS_PATH
from tests.support.drawing import LABELS, draw, encode_image, write_dataset
from tests.support.mlflow_stores import write_store
from tests.training.workspace import write_params
from training.source import sha256

PACKAGES = ("training", "export", "lambda_app")
FILES = (
    ".dvc/.gitignore",
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    "artifacts/metrics/activation_map.json",
    "artifacts/metrics/attempts.json",
    "data/datasets.yaml",
    "data/set-aside.csv",
    "dvc.yaml",
)
STAGES = tuple(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
OUTPUTS = (
    "artifacts/calibration.json",
    "artifacts/checkpoint.pt",
    "artifacts/learned_photos.json",
    "artifacts/manifest.csv",
    "artifacts/model.onnx",
    "artifacts/reference.json",
    "dvc.lock",
    "export/MODEL_CARD.md",
    "lambda_app/model.onnx",
)
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "MLFLOW_"))}
ENVIRONMENT |= ISOLATED | {"PATH": PROGRAMS_PATH, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a repository in which `dvc repro` ran twice, with the output of each run and the files between them."""
    folder = tmp_path_factory.mktemp("project")
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "model.onnx", "MODEL_CARD.md")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    write_params(folder, **LENIENT)
    write_store(folder)
    photos = write_dataset(tmp_path_factory.mktemp("photos"), dict.fromkeys(LABELS, 100))
    for seed in range(8):  # mislabeled cats, because a network without errors cannot be calibrated
        (photos / f"cat/{seed}.jpg").rename(photos / f"dog/cat {seed}.jpg")

    run = runner(folder)
    run("git", "init", "--quiet")
    run("git", "add", ".")
    run(*GIT, "commit", "--quiet", "--message", "Start")
    run("python", "-m", "training.fetch", "--data", str(photos))
    first = run("dvc", "repro")
    files = snapshot(folder)
    return SimpleNamespace(folder=folder, photos=photos, run=run, first=first, files=files, second=run("dvc", "repro"))


def runner(folder):
    def run(*command):
        done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    return run


def snapshot(folder):
    """Return the time and the hash of each output of the pipeline."""
    metrics_and_plots = sorted(path.relative_to(folder) for path in (folder / "artifacts").glob("*s/*"))
    return {
        str(name): ((folder / name).stat().st_mtime_ns, sha256(folder / name))
        for name in (*OUTPUTS, *metrics_and_plots)
    }


@pytest.fixture(scope="module")
def classifier(project):
    return Classifier.load(project.folder / "lambda_app/model.onnx")


@pytest.fixture(scope="module")
def mlflow_run(project):
    """Return the only run of the project's MLflow store."""
    client = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    [run] = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return SimpleNamespace(run=run, client=client)


def metrics(project, stage):
    return json.loads((project.folder / f"artifacts/metrics/{stage}.json").read_text())


# The model


def test_model_has_the_classes_of_the_folder(classifier):
    """The classes of the released model are the names of the folders."""
    assert LABELS == classifier.metadata.class_names


def test_accuracy_is_better_than_chance(project):
    """The accuracy on the test split is over 80 %. Chance is a third, and one photo in thirty is mislabeled."""
    test = metrics(project, "evaluate")["sets"]["test"]
    assert 0.8 < test["accuracy"]
    assert [3, 3] == [len(test["confusion_matrix"]), len(test["confusion_matrix"][0])]


@pytest.mark.parametrize("label", LABELS)
def test_model_classifies_new_drawings(classifier, label):
    """The serving code recognizes at least eight of ten drawings that are in no split."""
    predictions = [
        classifier.predict(preprocess(encode_image(draw(label, seed)), 32).pixels) for seed in range(1000, 1010)
    ]
    assert 8 <= sum(prediction.predicted_class == label for prediction in predictions)
    assert all(set(LABELS) == set(prediction.probabilities) for prediction in predictions)


def test_model_and_run_name_their_origin(project, classifier, mlflow_run):
    """The model file and the MLflow run hold the hash of the manifest and the commit; the file also holds the run."""
    metadata, run = classifier.metadata, mlflow_run.run
    data_hash = sha256(project.folder / "artifacts/manifest.csv")
    git_commit = project.run("git", "rev-parse", "HEAD").strip()
    assert (data_hash, git_commit, run.info.run_id) == (metadata.data_hash, metadata.git_commit, metadata.run_id)
    assert (data_hash, git_commit) == (run.data.tags["data_hash"], run.data.tags["git_commit"])


# DVC


def test_first_run_runs_all_stages(project):
    """The first `dvc repro` runs all stages in the order of dvc.yaml."""
    ran = [line.split("'")[1] for line in project.first.splitlines() if line.startswith("Running stage")]
    assert list(STAGES) == ran


def test_second_run_changes_nothing(project):
    """The second `dvc repro` finds everything up to date and writes no file."""
    assert "Running stage" not in project.second
    assert "Data and pipelines are up to date." in project.second
    assert project.files == snapshot(project.folder)


def test_lock_is_portable(project):
    """dvc.lock contains no absolute path of the machine that wrote it."""
    lock = (project.folder / "dvc.lock").read_text()
    assert [] == [path for path in (project.folder, project.photos, Path.home()) if str(path) in lock]


def test_git_tracks_metrics_and_plots(project):
    """Git ignores photos, the checkpoint and the MLflow store, but not metrics and plots."""
    untracked = set(project.run("git", "status", "--porcelain", "--untracked-files=all").splitlines())
    assert {
        f"?? artifacts/metrics/{stage}.json" for stage in ("prepare", "train", "evaluate", "verify", "release")
    } <= untracked
    assert {"?? artifacts/plots/history.csv", "?? dvc.lock", "?? lambda_app/model.onnx"} <= untracked
    assert [] == [line for line in untracked if line.endswith((".pt", ".db", ".jpg", "manifest.csv"))]


def test_dvc_shows_metrics(project):
    """`dvc metrics show` prints the summary alone, of at most 16 figures."""
    shown = json.loads(project.run("dvc", "metrics", "show", "--json"))[""]["data"]
    assert ["artifacts/metrics/summary.json"] == list(shown)
    figures = shown["artifacts/metrics/summary.json"]["data"]
    assert len(figures) <= 16
    assert metrics(project, "evaluate")["sets"]["test"]["accuracy"] == figures["accuracy_test"]


def test_dvc_shows_plots(project, tmp_path):
    """`dvc plots show` draws learning curves, confusion matrix, reliability and ROC."""
    shown = json.loads(project.run("dvc", "plots", "show", "--json", "--out", str(tmp_path)))["data"]
    names = ["curves.png", "history.csv", "predictions_test.csv"]
    names += [f"{picture}_test.png" for picture in ("confusion", "reliability", "roc")]
    assert {f"artifacts/plots/{name}" for name in names} == set(shown)
    assert all(shown.values())


# MLflow


def test_mlflow_run_has_parameters(classifier, mlflow_run):
    """The run has the parameters of training and augmentation, the classes and the size of the network."""
    params = mlflow_run.run.data.params
    assert {"train.architecture": "simple_cnn", "train.epochs": "2", "augment.flip": "0.5"}.items() <= params.items()
    assert str(list(LABELS)) == params["classes"]
    assert str(classifier.metadata.parameters) == params["parameters"]


def test_mlflow_run_has_metrics(mlflow_run):
    """The run has a value of each metric for each epoch."""
    names = [
        f"{split}_{name}" for split in ("train", "val") for name in ("loss", "accuracy", "precision", "recall", "f1")
    ]
    for metric in (*names, "lr", "images_per_second"):
        history = mlflow_run.client.get_metric_history(mlflow_run.run.info.run_id, metric)
        assert [1, 2] == [value.step for value in history], metric
        assert np.isfinite([value.value for value in history]).all(), metric


def test_mlflow_run_has_artifacts(mlflow_run):
    """The run has the checkpoint, learning curves, calibration, confusion matrix and metrics."""
    run_id = mlflow_run.run.info.run_id
    files = {file.path for folder in ("", "plots") for file in mlflow_run.client.list_artifacts(run_id, folder)}
    assert {"checkpoint.pt", "history.csv", "curves.png"} <= files
    assert {"calibration.json", "evaluate.json", "plots/confusion_test.png"} <= files


def test_champion_is_the_released_model(project, mlflow_run):
    """The champion of the registered model is the released file."""
    version = mlflow_run.client.get_model_version_by_alias("pet-classifier", "champion")
    assert sha256(project.folder / "lambda_app/model.onnx") == version.tags["sha256"]
    assert mlflow_run.run.info.run_id == version.run_id
