"""MLflow: where runs are kept and what every run is tagged with."""

import os
import subprocess

import mlflow

from training import config


def start_run(run_id: str | None = None) -> mlflow.ActiveRun:
    """A new run, or the one of that id again, in SQLite at mlflow.db unless MLFLOW_TRACKING_URI says otherwise."""
    mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"))
    mlflow.set_experiment(config.load(config.Tracking).experiment)
    return mlflow.start_run(run_id=run_id)


def git_commit() -> str:
    """HEAD, with `-dirty` where the work tree differs from it; `unknown` outside a repository."""
    done = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
