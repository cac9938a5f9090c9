"""Track runs with MLflow, and find the commit that they are tagged with."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import mlflow
from mlflow.data.meta_dataset import MetaDataset
from mlflow.data.sources import LocalArtifactDatasetSource
from mlflow.exceptions import MlflowException

from training import config
from training.source import SourceList, sha256

MAX_NAMED_CLASSES = 3
MAX_DIGEST = 36  # characters; MLflow's limit
MAX_DATASET_NAME = 200  # characters; MLflow's limit is 500

# Uncommitted changes of these Git paths mark the commit of a run as dirty. Metrics, plots and the released model do not
# count, because a run writes them. The paths are relative to the top of the repository, because baselines run in other
# folders.
INPUTS = (":/lambda_app/*.py", ":/training/*.py", ":/export/*.py", ":/params.yaml", ":/dvc.yaml")


def start_run(run_id: str | None = None, name: str | None = None, description: str | None = None) -> mlflow.ActiveRun:
    """Start a new run with that name and description, or resume the run with that ID.

    If the store does not have the run, as for a checkpoint pulled from a remote, start a new run that refers to it.
    MLflow's store is MLFLOW_TRACKING_URI, by default the SQLite database mlflow.db.
    """
    mlflow.set_experiment(config.load(config.Tracking).experiment)
    if run_id is None:
        return mlflow.start_run(run_name=os.environ.get("MLFLOW_RUN_NAME", name), description=description)
    try:
        return mlflow.start_run(run_id=run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return mlflow.start_run(run_name=f"resumes {run_id[:8]}", tags={"trained_in": run_id})


def name_run(params: config.Train, classes: list[str]) -> str:
    """Return a name for a run: the network or, in a DVC experiment, the experiment's name; the classes; the time."""
    subject = ", ".join(classes) if len(classes) <= MAX_NAMED_CLASSES else f"{len(classes)} classes"
    experiment = os.environ.get("DVC_EXP_NAME", params.architecture)
    return f"{experiment}: {subject}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"


def describe_run(params: config.Train, classes: list[str], photos: dict[str, int]) -> str:
    """Return a description in Markdown: what was trained on how many photos, and how."""
    counts = ", ".join(f"{count:,} {split}" for split, count in photos.items())
    start = f"from the weights `{params.weights}`" if params.weights else "from random weights"
    return (
        f"Classifies photos into {', '.join(classes)}. Trained `{params.architecture}` {start} at "
        f"{params.image_size} px for up to {params.epochs} epochs. Photos: {counts}."
    )


def log_dataset(manifest: Path, photos: Path) -> None:
    """Record the photos as the dataset of the active run; its digest is the start of the manifest's SHA-256."""
    source = LocalArtifactDatasetSource(str(photos.resolve()))
    name = shorten_dataset_name(" + ".join(SourceList.read_source_names(photos)))
    mlflow.log_input(
        MetaDataset(source, name=name, digest=sha256(manifest)[:MAX_DIGEST]),
        "training",
    )


def shorten_dataset_name(name: str) -> str:
    return name if len(name) <= MAX_DATASET_NAME else f"{name[: MAX_DATASET_NAME - 2]} …"


def end_abandoned_run(run_id: str | None) -> None:
    """Mark a run as failed if it never ended: its process was killed, and its training cannot be resumed."""
    client = mlflow.MlflowClient()
    try:
        is_running = run_id is not None and client.get_run(run_id).info.status == "RUNNING"
    except MlflowException:  # another store has the run
        return
    if is_running:
        client.set_terminated(run_id, "FAILED")


def git_commit() -> str:
    """Return the hash of HEAD, with `-dirty` if code or params differ from it; `unknown` outside a repository."""
    head = _git("rev-parse", "--verify", "--quiet", "HEAD")
    if not head:
        return "unknown"
    return f"{head}-dirty" if _git("status", "--porcelain", "--", *INPUTS) else head


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()
