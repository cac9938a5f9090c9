"""The MLflow store, and the commit with which a run is tagged."""

import subprocess

import mlflow
import pytest

from training.tracking import git_commit


def git(*arguments):
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    done = subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


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


@pytest.mark.parametrize("name", ["params.yaml", "training/new.py", "lambda_app/preprocess.py"])
def test_git_commit_marks_changed_inputs(head, project, name):
    """If code or params differ from HEAD, the commit ends with `-dirty`."""
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text("changed: true")
    assert f"{head}-dirty" == git_commit()


@pytest.mark.parametrize("name", ["artifacts/metrics/prepare.json", "lambda_app/model.onnx", "dvc.lock"])
def test_git_commit_ignores_outputs(head, project, name):
    """Files that the pipeline writes do not change the commit."""
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text("{}")
    assert head == git_commit()


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
