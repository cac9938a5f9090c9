"""Track runs with MLflow, and find the commit that they are tagged with."""

import subprocess

import mlflow
from mlflow.exceptions import MlflowException

from training import config

# Changes to metrics, plots, tables and the released model do not count: a run produces them. The paths are relative to
# the top of the repository, because baselines run in folders of their own.
INPUTS = (":/lambda_app/*.py", ":/training/*.py", ":/export/*.py", ":/params.yaml", ":/dvc.yaml")


def start_run(run_id: str | None = None) -> mlflow.ActiveRun:
    """Start a new run, or continue the run with that ID.

    If the store does not have the run, as for a checkpoint pulled from a remote, start a new run that refers to it.
    MLflow's store is MLFLOW_TRACKING_URI, by default the SQLite database mlflow.db.
    """
    mlflow.set_experiment(config.load(config.Tracking).experiment)
    try:
        return mlflow.start_run(run_id=run_id)
    except MlflowException as error:
        if run_id is None or error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return mlflow.start_run(tags={"trained_in": run_id})


def git_commit() -> str:
    """Return the hash of HEAD, with `-dirty` if code or params differ from it; `unknown` outside a repository."""
    head = _git("rev-parse", "--verify", "--quiet", "HEAD")
    if not head:
        return "unknown"
    return f"{head}-dirty" if _git("status", "--porcelain", "--", *INPUTS) else head


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()
