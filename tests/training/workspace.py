"""Create small project folders: params, archives and links."""

import csv
import io
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from threadpoolctl import threadpool_limits

from tests.support import ROOT
from tests.support.mlflow_stores import one_schema_lookup
from training.manifest import MANIFEST

# Params of a network that learns drawings in two epochs of two seconds.
SMALL = {
    "train.architecture": "simple_cnn",
    "train.weights": None,
    "train.image_size": 32,
    "train.epochs": 2,
    "train.perfect_epochs": 1000,  # drawings are learned perfectly before the last epoch
    "train.min_steps": 1,
    "train.batch_size": 16,
    "train.lr": 4e-3,
    # Nothing is pretrained: body and head learn at the same rate, without a frozen head and without statistics to keep.
    "train.body_lr": 1.0,
    "train.distillation_weight": 0.0,
    "train.freeze_batch_norm": False,
    "train.ema_decay": 0.9,
    "train.bf16": False,  # emulated on most CPUs
    "train.workers": 0,
    "augment.crop_scale": [0.8, 1.0],
    "evaluate.image_size": 32,
    "quantize.photos": 20,
}


def write_params(folder: Path, **overrides: Any) -> Path:
    """Write this repository's params.yaml with the values of SMALL and of `SECTION__KEY=value` arguments."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, value in (SMALL | {name.replace("__", "."): value for name, value in overrides.items()}).items():
        section, key = name.split(".")
        params[section][key] = value
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    return path


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write an archive as `zipped` returns it, and return its path."""
    path.write_bytes(zipped(files))
    return path


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return an uncompressed archive with the files in this order; a name with a trailing `/` is a folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return buffer.getvalue()


def archive(mebibytes: int = 1) -> bytes:
    """Return an archive of that size, uncompressed."""
    return zipped({"cat/0.jpg": bytes(mebibytes << 20)})


def link_photos(project: Path, photos: Path) -> None:
    """Link the photos to where the pipeline reads them, as `training.fetch` does."""
    (project / "data/raw/extra").mkdir(parents=True, exist_ok=True)
    (project / "data/raw/photos").unlink(missing_ok=True)
    (project / "data/raw/photos").symlink_to(photos)


def enter_copy(project: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *ignored: str) -> Path:
    """Copy a project, without the files of these patterns, and make the copy the working directory of the test."""
    shutil.copytree(project, folder, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*ignored))
    monkeypatch.chdir(folder)
    return folder


def rows_by_id() -> dict[str, dict[str, str]]:
    """Return all rows of the manifest in the working directory by ID, also of files that were set aside."""
    with MANIFEST.open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def random_pixels(count: int, size: int = 64) -> torch.Tensor:
    """Return uint8 (N, 3, S, S) of random pixels, which are the same in each call."""
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session", autouse=True)
def reduce_overhead() -> Iterator[None]:
    """Run PyTorch on one thread, and look up the MLflow schema once. The conftest.py of each package imports this."""
    with one_thread(), one_schema_lookup():
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread: for tiny tensors, waiting for a second thread takes twenty times as long on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):  # NumPy's and SciPy's
        yield
    torch.set_num_threads(threads)
