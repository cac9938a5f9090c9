"""A project folder as small as a test needs it: params, archives, links."""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[2]
# A network that learns drawings in two epochs of two seconds.
SMALL = {
    "train.architecture": "simple_cnn",
    "train.weights": None,
    "train.image_size": 32,
    "train.epochs": 2,
    "train.min_steps": 1,
    "train.batch_size": 16,
    "train.lr": 4e-3,
    "train.body_lr": 1.0,  # nothing is pretrained: body and head learn alike,
    "train.recall": 0.0,  # there is nothing to forget,
    "train.freeze_batch_norm": False,  # and no statistics to keep
    "train.ema_decay": 0.9,
    "train.bf16": False,  # emulated where the CPU has none
    "train.workers": 0,
    "augment.crop_scale": [0.8, 1.0],
    "evaluate.image_size": 32,
}


def write_params(folder: Path, **overrides: Any) -> Path:
    """This repository's params.yaml with SMALL, and with `SECTION__KEY=value`, in place of what it says."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, value in (SMALL | {name.replace("__", "."): value for name, value in overrides.items()}).items():
        section, key = name.split(".")
        params[section][key] = value
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    return path


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """In that order; a name with a trailing `/` is a folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def link_photos(project: Path, photos: Path) -> None:
    """Where the pipeline looks, as `training.fetch` links them."""
    (project / "data/raw/extra").mkdir(parents=True, exist_ok=True)
    (project / "data/raw/photos").unlink(missing_ok=True)
    (project / "data/raw/photos").symlink_to(photos)


@contextmanager
def one_thread() -> Iterator[None]:
    """For tensors as small as these: waiting for a second thread takes twenty times as long on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):  # NumPy's and SciPy's
        yield
    torch.set_num_threads(threads)
