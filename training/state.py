"""A training under way: everything that the next epoch follows from, in one file that is whole or absent."""

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

ROOT = Path(__file__).parents[1]
CODE = ("lambda_app/", "training/")  # the other dependencies are data
STATE = Path("artifacts/training.pt")
OTHERS = Path("artifacts/training.old.pt")  # a state that was not gone on from


@dataclass
class Progress:
    """What the epochs so far came to."""

    run_id: str | None = None  # MLflow
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)  # state_dict and epoch of the lowest validation loss


@dataclass(frozen=True)
class Parts:
    """What learns, and so has a state."""

    model: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler

    def _states(self) -> dict[str, dict[str, Any]]:
        return {name: part.state_dict() for name, part in vars(self).items()}

    def save(self, progress: Progress, identity: dict[str, Any]) -> None:
        save_atomically(self._states() | {"progress": vars(progress), "identity": identity}, STATE)

    def resume(self, identity: dict[str, Any]) -> Progress:
        """The progress of the training that was cut off, if it was of this identity."""
        if not STATE.exists():
            return Progress()
        saved = torch.load(STATE, map_location="cpu", weights_only=True)
        if saved["identity"] != identity:
            print(f"{STATE} is of other photos, params, weights, code or processes; starting anew, it becomes {OTHERS}")
            return Progress()
        for name, part in vars(self).items():
            part.load_state_dict(saved[name])
        progress = Progress(**saved["progress"])
        print(f"resuming after epoch {len(progress.history)}")
        return progress


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
    """Beside it, flushed, then renamed: a reader, or a power cut, sees the old file or the new one."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(value, file)
        os.fsync(file.fileno())
    partial.rename(path)


def keep_memory() -> None:
    """Ask glibc to keep what was freed: a step frees and takes hundreds of megabytes, and page faults cost half of it.

    EfficientNet-Lite0, 160 px, batch 64, two cores: 44 images/s without, 94 with (mallopt(3); on others than glibc it
    does nothing).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
            mallopt(option, value)
