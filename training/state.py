"""Save and resume a training in progress; control how glibc reuses memory.

One file holds everything that the next epoch depends on.
"""

import ctypes
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from torch.optim.swa_utils import AveragedModel

from training import ROOT
from training.figures import replacing

CODE = ("lambda_app/", "training/")  # the other dependencies of a stage are data
STATE = Path("artifacts/training.pt")
OLD_STATE = Path("artifacts/training.old.pt")  # a state that could not be resumed


@dataclass
class Progress:
    """The results of the epochs so far."""

    run_id: str | None = None  # MLflow
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)  # state_dict and epoch of the lowest validation loss


@dataclass(frozen=True)
class TrainingState:
    """The objects that change while training."""

    model: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler

    def save(self, progress: Progress, identity: dict[str, Any]) -> None:
        states = {name: part.state_dict() for name, part in vars(self).items()}
        save_atomically(states | {"progress": vars(progress), "identity": identity}, STATE)

    def resume(self, identity: dict[str, Any]) -> Progress:
        """Load the state of an interrupted training and return its progress, if it has the same identity.

        Otherwise, return an empty progress and leave this state unchanged.
        """
        if not STATE.exists():
            return Progress()
        saved = torch.load(STATE, map_location="cpu", weights_only=True)
        if saved["identity"] != identity:
            print(
                f"{STATE} was written with other photos, params, weights, code or number of processes; starting over "
                f"and keeping it as {OLD_STATE}"
            )
            return Progress()
        for name, part in vars(self).items():
            part.load_state_dict(saved[name])
        progress = Progress(**saved["progress"])
        print(f"resuming after epoch {len(progress.history)}")
        return progress


def read_run_id(path: Path) -> str | None:
    """Return the MLflow run of a saved training, or None."""
    run_id: str | None = torch.load(path, map_location="cpu", weights_only=True)["progress"]["run_id"]
    return run_id


def hash_code(root: Path = ROOT) -> str:
    """Return the SHA-256 of the code that the stage `train` depends on, as dvc.yaml lists it.

    A resumed training must not mix epochs of two versions of this code, and DVC reruns the stage when it changes.
    """
    dependencies = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]["train"]["deps"]
    code = [root / name for name in dependencies if name.startswith(CODE)]
    files = [file for path in code for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def hash_weights(model: nn.Module) -> str:
    """Return the SHA-256 of all tensors of a model."""
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def save_atomically(value: Any, path: Path) -> None:
    """Write beside `path`, flush, then rename, so that `path` is always a complete file, even after a power failure."""
    with replacing(path) as partial, partial.open("wb") as file:
        torch.save(value, file)
        os.fsync(file.fileno())


def keep_freed_memory() -> None:
    """Make glibc keep freed memory: a step frees and allocates hundreds of MB, and page faults take half its time.

    EfficientNet-Lite0 at 160 px with batches of 64 on two cores trains at 44 images/s without it and at 94 with it; see
    mallopt(3). Does nothing on other C libraries.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
            mallopt(option, value)


def release_freed_memory() -> None:
    """Return freed memory to the system before workers fork; see `keep_freed_memory`.

    A forked worker shares all pages of this process, and the first write to a page copies it. With 7 GB, the second
    epoch trains at 21 images/s instead of 31 (EfficientNet-Lite0 at 192 px, two cores, epochs of 17 batches).
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
