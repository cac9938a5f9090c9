"""Train in project folders and processes of their own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import mlflow
import pytest
import timm
import torch

from tests.support import ROOT
from tests.support.mlflow_stores import write_store
from tests.training.workspace import write_params
from training import train
from training.manifest import MANIFEST
from training.networks import TIMM
from training.source import PRETRAINED

# By default, gloo and torchrun look up this machine's host name, which a sandbox may not resolve.
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node=2", "--local-addr=127.0.0.1")
# Params of a small network with a frozen head (see write_weights).
WITH_FROZEN_HEAD = {
    "train__architecture": "mobilenet_v2_050",
    "train__weights": "imagenet",
    "train__body_lr": 0.2,
    "train__distillation_weight": 1.0,
    "train__freeze_batch_norm": True,
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")} | {
    "CUDA_VISIBLE_DEVICES": "",  # otherwise both processes would need a GPU
    "GLOO_SOCKET_IFNAME": "lo",
    "OMP_NUM_THREADS": "1",  # as in this process: sums depend on the number of threads
    "PYTHONPATH": str(ROOT),
}


def copy_prepared(trained: Path, folder: Path, **params: Any) -> Path:
    """Copy the prepared data of the trained project to a new project with an empty MLflow store."""
    (folder / "artifacts").mkdir(parents=True)
    shutil.copytree(trained / "data", folder / "data", symlinks=True)
    shutil.copy(trained / MANIFEST, folder / MANIFEST)
    write_store(folder)
    write_params(folder, **params)
    return folder


def write_weights(folder: Path, seed: int = 0) -> Path:
    """Write random weights as the pretrained ones. Their batch norms do not change their input."""
    torch.manual_seed(seed)
    path = folder / PRETRAINED / "mobilenet_v2_050.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(timm.create_model(TIMM["mobilenet_v2_050"], pretrained=False).state_dict(), path)
    return path


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS…` in the folder; return its exit code and output."""
    return subprocess.run(
        (sys.executable, *arguments),
        cwd=folder,
        env=ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def run_killed(events: Mapping[Path, list[str]]) -> dict[Path, int]:
    """Train in each folder until its events have happened; return exit codes. The output is in output.txt."""
    done = subprocess.run(
        (sys.executable, "-m", "tests.training.kill_after"),
        env=ENVIRONMENT,
        input=json.dumps({str(folder): names for folder, names in events.items()}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {Path(folder): code for folder, code in json.loads(done.stdout).items()}


def train_here(folder: Path) -> str:
    """Train in this process, in the folder; return the output."""
    output = StringIO()
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        try:
            with redirect_stdout(output):
                train.main()
        finally:  # pytest shows the output if training fails
            print(output.getvalue())
    return output.getvalue()


def mlflow_runs(folder: Path) -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return client.search_runs([client.get_experiment_by_name("pet-classifier").experiment_id])
