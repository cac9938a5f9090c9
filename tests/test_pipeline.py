"""The pipeline for real: drawings of three classes, `dvc repro` in a repository of their own, a model that answers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import onnx
import pytest
import yaml

from lambda_app.classifier import Classifier
from lambda_app.preprocess import preprocess
from tests.drawing import LABELS, draw, encode, write_dataset
from tests.export.models import LENIENT
from tests.mlflow_stores import write_store
from tests.training.workspace import ROOT, write_params
from training.source import sha256

ROOMS = ("training", "export", "lambda_app")
FILES = (
    ".dvc/.gitignore",
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    "data/datasets.yaml",
    "data/set-aside.csv",
    "dvc.yaml",
)
STAGES = tuple(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
MEASURED = ("prepare", "evaluate", "verify", "release")  # the stages that write metrics
MADE = (
    "artifacts/calibration.json",
    "artifacts/checkpoint.pt",
    "artifacts/manifest.csv",
    "artifacts/model.onnx",
    "artifacts/reference.json",
    "dvc.lock",
    "export/MODEL_CARD.md",
    "lambda_app/model.onnx",
)
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "MLFLOW_"))} | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The repository after `dvc repro` has run twice: what each run said, and the files between the two."""
    folder = tmp_path_factory.mktemp("project")
    for name in ROOMS:
        made = shutil.ignore_patterns("__pycache__", "model.onnx", "MODEL_CARD.md")
        shutil.copytree(ROOT / name, folder / name, ignore=made)
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    write_params(folder, **LENIENT)
    write_store(folder)
    photos = write_dataset(tmp_path_factory.mktemp("photos"), dict.fromkeys(LABELS, 100))
    for seed in range(8):  # cats that were taken for dogs: a network that is always right cannot be calibrated
        (photos / f"cat/{seed}.jpg").rename(photos / f"dog/cat {seed}.jpg")

    run = runner(folder)
    run("git", "init", "--quiet")
    run("git", "add", ".")
    run("git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "commit", "--quiet", "--message", "Start")
    run("python", "-m", "training.fetch", "--data", str(photos))
    first = run("dvc", "repro")
    made = snapshot(folder)
    return SimpleNamespace(folder=folder, photos=photos, run=run, first=first, made=made, second=run("dvc", "repro"))


def runner(folder):
    def run(*command):
        done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    return run


def snapshot(folder):
    """When each file that the pipeline makes was written, and what is in it."""
    metrics_and_plots = sorted(path.relative_to(folder) for path in (folder / "artifacts").glob("*s/*"))
    return {
        str(name): ((folder / name).stat().st_mtime_ns, sha256(folder / name)) for name in (*MADE, *metrics_and_plots)
    }


@pytest.fixture(scope="module")
def classifier(project):
    return Classifier.load(project.folder / "lambda_app/model.onnx")


@pytest.fixture(scope="module")
def mlflow_run(project):
    """The only run of the project's store."""
    client = mlflow.MlflowClient(f"sqlite:///{project.folder}/mlflow.db")
    [run] = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return SimpleNamespace(run=run, client=client)


def metrics(project, stage):
    return json.loads((project.folder / f"artifacts/metrics/{stage}.json").read_text())


# --- the model


def test_model_knows_the_classes(classifier):
    """The released model has the classes that the folder had."""
    assert LABELS == classifier.metadata.class_names


def test_accuracy(project):
    """On the test split it is right far more often than one in three; one photo in thirty is in the wrong class."""
    test = metrics(project, "evaluate")["sets"]["test"]
    assert 0.8 < test["accuracy"]
    assert [3, 3] == [len(test["confusion_matrix"]), len(test["confusion_matrix"][0])]


@pytest.mark.parametrize("label", LABELS)
def test_answers(classifier, label):
    """Serving's own code recognises drawings that were in no split."""
    answers = [classifier.predict(preprocess(encode(draw(label, seed)), 32).pixels) for seed in range(1000, 1010)]
    right = [answer for answer in answers if answer.predicted_class == label]
    assert 8 <= len(right)
    assert all(set(LABELS) == set(answer.probabilities) for answer in answers)


def test_model_leads_back(project, classifier, mlflow_run):
    """The model file names the manifest, the commit and the run it was made from."""
    metadata = classifier.metadata
    assert sha256(project.folder / "artifacts/manifest.csv") == metadata.data_hash
    assert project.run("git", "rev-parse", "HEAD").strip() == metadata.git_commit
    assert mlflow_run.run.info.run_id == metadata.run_id


# --- DVC


def test_every_stage_ran(project):
    """The first `dvc repro` runs all stages, in the order in which dvc.yaml tells them."""
    ran = [line.split("'")[1] for line in project.first.splitlines() if line.startswith("Running stage")]
    assert list(STAGES) == ran


def test_second_run_does_nothing(project):
    """The second `dvc repro` finds everything up to date and touches no file."""
    assert "Running stage" not in project.second
    assert "Data and pipelines are up to date." in project.second
    assert project.made == snapshot(project.folder)


def test_lock_is_portable(project):
    """dvc.lock holds no path of the machine that wrote it."""
    lock = (project.folder / "dvc.lock").read_text()
    assert [] == [path for path in (project.folder, project.photos, Path.home()) if str(path) in lock]


def test_git_sees_the_figures(project):
    """Metrics and plots are for Git to keep; photos, checkpoint and the store are not."""
    seen = set(project.run("git", "status", "--porcelain", "--untracked-files=all").splitlines())
    assert {f"?? artifacts/metrics/{stage}.json" for stage in (*MEASURED, "train")} <= seen
    assert {"?? artifacts/plots/history.csv", "?? dvc.lock", "?? lambda_app/model.onnx"} <= seen
    assert [] == [line for line in seen if line.endswith((".pt", ".db", ".jpg", "manifest.csv"))]


def test_dvc_metrics(project):
    """`dvc metrics show` reads every stage's figures."""
    shown = json.loads(project.run("dvc", "metrics", "show", "--json"))[""]["data"]
    assert {f"artifacts/metrics/{stage}.json" for stage in MEASURED} == set(shown)
    assert (
        metrics(project, "evaluate")["temperature"] == shown["artifacts/metrics/evaluate.json"]["data"]["temperature"]
    )


def test_dvc_plots(project, tmp_path):
    """`dvc plots show` draws learning curves, confusion matrix, reliability and ROC."""
    shown = json.loads(project.run("dvc", "plots", "show", "--json", "--out", str(tmp_path)))["data"]
    names = ["curves.png", "history.csv", "predictions_test.csv"]
    names += [f"{picture}_test.png" for picture in ("confusion", "reliability", "roc")]
    assert {f"artifacts/plots/{name}" for name in names} == set(shown)
    assert all(shown.values())


# --- MLflow


def test_logged_params(project, mlflow_run):
    """The run holds every param of train and augment, and what they make."""
    params = mlflow_run.run.data.params
    assert {"train.architecture": "simple_cnn", "train.epochs": "2", "augment.flip": "0.5"}.items() <= params.items()
    assert str(list(LABELS)) == params["classes"]
    assert str(parameters(project.folder)) == params["parameters"]


def parameters(folder):
    """Of the released network, from its metadata."""
    props = onnx.load(folder / "lambda_app/model.onnx").metadata_props
    return next(json.loads(prop.value) for prop in props if prop.key == "parameters")


@pytest.mark.parametrize(
    "metric",
    [
        *(
            f"{split}_{name}"
            for split in ("train", "val")
            for name in ("loss", "accuracy", "precision", "recall", "f1")
        ),
        "lr",
        "images_per_second",
    ],
)
def test_logged_metrics(mlflow_run, metric):
    """The run holds a value of each metric for each epoch."""
    history = mlflow_run.client.get_metric_history(mlflow_run.run.info.run_id, metric)
    assert [1, 2] == [value.step for value in history]
    assert np.isfinite([value.value for value in history]).all()


def test_logged_test_figures(project, mlflow_run):
    """The test split's figures are in the run that trained."""
    assert metrics(project, "evaluate")["sets"]["test"]["accuracy"] == mlflow_run.run.data.metrics["test_accuracy"]


def test_logged_artifacts(mlflow_run):
    """The run holds checkpoint, learning curves, calibration, confusion matrix and the figures."""
    run_id = mlflow_run.run.info.run_id
    files = {file.path for folder in ("", "plots") for file in mlflow_run.client.list_artifacts(run_id, folder)}
    assert {"checkpoint.pt", "history.csv", "curves.png"} <= files
    assert {"calibration.json", "evaluate.json", "plots/confusion_test.png"} <= files


def test_logged_tags(project, mlflow_run):
    """The run is tagged with the hash of its data and with the commit of its code, which nothing had changed."""
    tags = mlflow_run.run.data.tags
    assert sha256(project.folder / "artifacts/manifest.csv") == tags["data_hash"]
    assert project.run("git", "rev-parse", "HEAD").strip() == tags["git_commit"]


def test_registered(project, mlflow_run):
    """The registered model's champion is the file that was released."""
    version = mlflow_run.client.get_model_version_by_alias("pet-classifier", "champion")
    assert sha256(project.folder / "lambda_app/model.onnx") == version.tags["sha256"]
    assert mlflow_run.run.info.run_id == version.run_id
