"""MLflow: where runs are kept and what every run is tagged with."""

import os
import subprocess

import mlflow
from mlflow.exceptions import MlflowException

from training import config


def connect() -> None:
    """Runs and models are kept in SQLite at mlflow.db unless MLFLOW_TRACKING_URI says otherwise."""
    mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"))


def start_run(run_id: str | None = None) -> mlflow.ActiveRun:
    """A new run, or the one of that id again.

    Where the store does not know the run, as with a checkpoint pulled from a remote, a new one refers to it.
    """
    connect()
    mlflow.set_experiment(config.load(config.Tracking).experiment)
    try:
        return mlflow.start_run(run_id=run_id)
    except MlflowException as error:
        if run_id is None or error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return mlflow.start_run(tags={"trained_in": run_id})


def git_commit() -> str:
    """HEAD, with `-dirty` where code or params differ from it; `unknown` outside a repository."""
    # Metrics, plots, tables and the released model are what a run makes, not what it is made from. From the top of the
    # repository, since baselines run in folders of their own.
    made_from = (":/lambda_app/*.py", ":/training/*.py", ":/export/*.py", ":/params.yaml", ":/dvc.yaml")
    head = _git("rev-parse", "--verify", "--quiet", "HEAD")
    return f"{head}-dirty" if head and _git("status", "--porcelain", "--", *made_from) else head or "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()
