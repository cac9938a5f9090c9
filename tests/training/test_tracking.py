"""Test the MLflow store, and the commit with which a run is tagged."""

import re
from collections import Counter
from pathlib import Path

import mlflow
import pytest

from tests.support.commands import GIT, run
from tests.support.drawing import write_dataset
from tests.support.mlflow_stores import write_store
from training import config
from training.manifest import MANIFEST, read_manifest
from training.source import PHOTOS, SourceList, sha256
from training.tracking import (
    MAX_DATASET_NAME,
    end_abandoned_run,
    git_commit,
    log_dataset,
    name_run,
    shorten_dataset_name,
    start_run,
)
from training.train import seed_everything


def git(*arguments):
    return run(*GIT, *arguments, folder=Path()).strip()


@pytest.fixture
def head(project, monkeypatch):
    """Return the hash of the only commit of a repository that holds params.yaml; the working directory."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    git("init", "--quiet")
    git("add", "params.yaml")
    git("commit", "--quiet", "--message", "Add params")
    return git("rev-parse", "HEAD")


def test_git_commit_is_head(head):
    """The commit is the full hash of HEAD."""
    assert head == git_commit()


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("params.yaml", "-dirty"),
        ("training/new.py", "-dirty"),
        ("lambda_app/preprocess.py", "-dirty"),
        ("artifacts/metrics/prepare.json", ""),
        ("lambda_app/model.onnx", ""),
        ("dvc.lock", ""),
    ],
)
def test_git_commit_marks_changed_inputs(head, project, name, suffix):
    """The commit ends with `-dirty` if code or params differ from HEAD, but not if the pipeline's outputs do."""
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text("changed: true")
    assert f"{head}{suffix}" == git_commit()


@pytest.mark.parametrize("options", [[], ["--annotate", "--message", "First release"]], ids=["light", "annotated"])
def test_git_commit_ignores_tags(head, options):
    """A tag does not replace the hash."""
    git("tag", *options, "v1.0.0")
    assert head == git_commit()


def test_git_commit_without_a_commit_is_unknown(project):
    """In a repository without a commit, the result is `unknown`."""
    git("init", "--quiet")
    assert "unknown" == git_commit()


def test_git_commit_outside_a_repository_is_unknown(project, monkeypatch):
    """Outside a repository the commit is `unknown`."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    assert "unknown" == git_commit()


def test_default_store_is_mlflow_db(project, monkeypatch):
    """Without MLFLOW_TRACKING_URI, MLflow uses the SQLite database mlflow.db in the working directory."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert f"sqlite:///{project}/mlflow.db" == mlflow.get_tracking_uri()


# --- runs


@pytest.fixture
def store(project, monkeypatch):
    """Return a client of an empty MLflow store, which runs are written to."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", write_store(project))
    return mlflow.MlflowClient()


def test_training_run_describes_the_training(trained):
    """The run of a training has a name and a description, and the photos as its dataset."""
    client = mlflow.MlflowClient(f"sqlite:///{trained}/mlflow.db")
    experiments = [each.experiment_id for each in client.search_experiments()]
    [run] = client.search_runs(experiments)
    assert re.fullmatch(r"simple_cnn: cat, dog, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", run.info.run_name)
    counts = Counter(row.split for row in read_manifest(trained / MANIFEST))
    photos = ", ".join(f"{counts[split]} {split}" for split in ("train", "val", "test"))
    description = run.data.tags["mlflow.note.content"]
    assert description.startswith("Classifies photos into cat, dog. Trained `simple_cnn` from random weights at 32 px")
    assert description.endswith(f"Photos: {photos}.")
    [dataset] = run.inputs.dataset_inputs
    assert (trained / "data/raw/photos").resolve().name == dataset.dataset.name
    assert sha256(trained / MANIFEST).startswith(dataset.dataset.digest)
    assert "FINISHED" == run.info.status


def test_runs_of_a_seeded_training_have_distinct_names(store, monkeypatch):
    """The names do not depend on the seed: they contain the network or DVC's experiment, the classes and the time."""
    params, names = config.load(config.Train), set()
    for experiment, labels in ((None, ["cat", "dog"]), (None, list("abcd")), ("shy-lamb", ["cat", "dog"])):
        if experiment:
            monkeypatch.setenv("DVC_EXP_NAME", experiment)
        seed_everything(0)
        with start_run(name=name_run(params, labels), description="any") as run:
            names.add(run.info.run_name.rpartition(", ")[0])
    assert {"simple_cnn: cat, dog", "simple_cnn: 4 classes", "shy-lamb: cat, dog"} == names


def test_abandoned_run_ends_as_failed(store):
    """The run of a killed training is marked as failed; a finished one and an unknown one are left alone."""
    with start_run() as finished:
        pass
    abandoned = store.create_run(finished.info.experiment_id)
    for run_id in (abandoned.info.run_id, finished.info.run_id, "0" * 32, None):
        end_abandoned_run(run_id)
    assert ["FAILED", "FINISHED"] == [store.get_run(run.info.run_id).info.status for run in (abandoned, finished)]


def test_failed_run_ends_as_failed(store):
    """A run whose training raises an error, or is interrupted, does not stay in progress."""
    statuses = []
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), start_run() as run:
            raise error
        statuses.append(store.get_run(run.info.run_id).info.status)
    assert ["FAILED", "FAILED"] == statuses


def test_dataset_names_all_sources(store, project):
    """The dataset of a run on several sources has their names, not that of the list."""
    for name in ("cats", "dogs"):
        write_dataset(project / name, {"cat": 1}, size=32)
    PHOTOS.parent.mkdir(parents=True)
    SourceList((str(project / "cats"), str(project / "dogs"))).write(PHOTOS)
    with start_run() as run:
        log_dataset(project / "params.yaml", PHOTOS)
    [dataset] = store.get_run(run.info.run_id).inputs.dataset_inputs
    assert "cats + dogs" == dataset.dataset.name


def test_long_name_of_a_dataset_is_shortened():
    """A name that MLflow would refuse is shortened; a short one is unchanged."""
    assert MAX_DATASET_NAME == len(shorten_dataset_name("x" * 501))
    assert "cats" == shorten_dataset_name("cats")
