"""Create small project folders: params, archives and links."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from threadpoolctl import threadpool_limits

from tests.support import ROOT

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
    "train.body_lr": 1.0,  # nothing is pretrained: body and head have the same rate,
    "train.distillation_weight": 0.0,  # there is no frozen head,
    "train.freeze_batch_norm": False,  # and there are no statistics to keep
    "train.ema_decay": 0.9,
    "train.bf16": False,  # emulated on most CPUs
    "train.workers": 0,
    "augment.crop_scale": [0.8, 1.0],
    "evaluate.image_size": 32,
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
    """Write an archive with the files in this order; a name with a trailing `/` is a folder."""
    with zipfile.ZipFile(path, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def archive(mebibytes: int = 1) -> bytes:
    """Return an archive of that size, uncompressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("cat/0.jpg", bytes(mebibytes << 20))
    return buffer.getvalue()


def link_photos(project: Path, photos: Path) -> None:
    """Link the photos to where the pipeline reads them, as `training.fetch` does."""
    (project / "data/raw/extra").mkdir(parents=True, exist_ok=True)
    (project / "data/raw/photos").unlink(missing_ok=True)
    (project / "data/raw/photos").symlink_to(photos)


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread: for tiny tensors, waiting for a second thread takes twenty times as long on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):  # NumPy's and SciPy's
        yield
    torch.set_num_threads(threads)
