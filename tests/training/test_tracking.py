"""Which code a run was trained with."""

import subprocess

import pytest

from training.tracking import git_commit


def git(*arguments):
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    done = subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def head(project, monkeypatch):
    """The hash of the only commit of a repository that holds params.yaml; the working directory."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    git("init", "--quiet")
    git("add", "params.yaml")
    git("commit", "--quiet", "--message", "Add params")
    return git("rev-parse", "HEAD")


def test_commit(head):
    """The whole hash of HEAD."""
    assert head == git_commit()


@pytest.mark.parametrize("name", ["params.yaml", "training/new.py", "lambda_app/preprocess.py"])
def test_changed_code(head, project, name):
    """Code or params that differ from HEAD are told."""
    (project / name).parent.mkdir(exist_ok=True)
    (project / name).write_text("changed: true")
    assert f"{head}-dirty" == git_commit()


@pytest.mark.parametrize("name", ["artifacts/metrics/prepare.json", "lambda_app/model.onnx", "dvc.lock"])
def test_work_product(head, project, name):
    """What the pipeline itself writes changes nothing that it was made from."""
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text("{}")
    assert head == git_commit()


@pytest.mark.parametrize("options", [[], ["--annotate", "--message", "First release"]], ids=["light", "annotated"])
def test_tagged_commit(head, options):
    """A tag does not replace the hash."""
    git("tag", *options, "v1.0.0")
    assert head == git_commit()


def test_no_commit(project):
    """In a repository without a commit there is none to name."""
    git("init", "--quiet")
    assert "unknown" == git_commit()


def test_no_repository(project, monkeypatch):
    """Outside a repository the commit is `unknown`."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    assert "unknown" == git_commit()
