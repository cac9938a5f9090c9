"""Stage 2: the training split to `artifacts/checkpoint.pt`, which carries weights, params and class names.

An epoch follows from the weights it starts with and from its number alone, so a training that was cut off goes on from
its last epoch to the same weights. `torchrun --nproc_per_node=N -m training.train` shares each batch among N processes.
"""

import csv
import json
import math
import random
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import ConcatDataset, DistributedSampler
from tqdm import tqdm

from training import config, plots
from training.augment import Augmented
from training.data import Batches, Photos, Pixels, Upright, class_names, loader, read_manifest, read_split
from training.distributed import World, join
from training.metrics import classification, prefixed
from training.model import CHECKPOINT, count_parameters, predict
from training.optimize import make_networks, make_parts, train_epoch
from training.prepare import MANIFEST
from training.source import sha256
from training.state import OTHERS, STATE, Progress, hash_code, hash_weights, keep_memory, save_atomically
from training.tracking import git_commit, start_run

HISTORY = Path("artifacts/plots/history.csv")
CURVES = Path("artifacts/plots/curves.png")
METRICS = Path("artifacts/metrics/train.json")


def main() -> None:
    keep_memory()
    world = join()
    params, augment, test = config.load(config.Train), config.load(config.Augment), config.load(config.Evaluate)
    rows = read_manifest()
    names = class_names(rows)
    train_photos = enough(read_split(rows, "train", Augmented(augment, params.image_size)), params)
    train_batches, share = shared(train_photos, params, world)
    val_batches = loader(read_split(rows, "val", Upright(test.image_size)), test.batch_size, params.workers)

    seed_everything(params.seed)
    model, teacher = make_networks(params, len(names), world.device)
    start = hash_weights(model)  # the file of pretrained weights may be another one than last time
    parts = make_parts(model, params, params.epochs * len(train_batches))
    learner: nn.Module = DistributedDataParallel(model) if world.size > 1 else model

    provenance = {"data_hash": sha256(MANIFEST), "git_commit": git_commit()}
    about = {"train": asdict(params), "augment": asdict(augment), "class_names": names}
    identity = about | {
        "data_hash": provenance["data_hash"],
        "val_size": test.image_size,
        "start": start,
        "processes": world.size,
        "code": hash_code(),
    }
    progress = parts.resume(identity)
    world.wait()  # a lead with nothing left to train would remove the state before the others have read it
    if world.leads and STATE.exists() and not progress.run_id:
        STATE.replace(OTHERS)
    with start_run(progress.run_id) if world.leads else nullcontext() as run:
        if run is not None and not progress.run_id:
            progress.run_id = run.info.run_id
            mlflow.set_tags(provenance)
            counts = {"parameters": count_parameters(model), "classes": names, "processes": world.size}
            mlflow.log_params(config.flat(params, augment) | counts)
            parts.save(progress, identity)  # cut off in its first epoch, too, a training goes on in the same run
        for epoch in range(len(progress.history) + 1, params.epochs + 1):
            if patience_is_over(progress, params.patience):
                break
            seed_everything(params.seed + epoch * world.size + world.rank)
            share.set_epoch(epoch)
            bar = tqdm(train_batches, desc=f"epoch {epoch}/{params.epochs}", unit="batch", disable=not world.leads)
            trained = train_epoch(learner, teacher, bar, parts, params)
            trained["images_per_second"] *= world.size
            record = {"epoch": epoch, "lr": parts.optimizer.param_groups[-1]["lr"], **trained}
            record |= world.share(validate(parts.average, val_batches, world) if world.leads else {})
            keep(progress, record, parts.average.module, params.lr)
            if world.leads:
                mlflow.log_metrics({k: v for k, v in record.items() if k != "epoch"}, step=epoch)
                print(" ".join(f"{key} {value:.4g}" for key, value in record.items()))
                parts.save(progress, identity)
        if world.leads:
            finish(progress, about | provenance)
    world.leave()


def enough(photos: Photos, params: config.Train) -> ConcatDataset[tuple[Pixels, int]]:
    """Few photos are seen several times in an epoch, so that a training that does not stop early has `min_steps`."""
    batches = math.ceil(params.min_steps / params.epochs)  # of an epoch
    return ConcatDataset([photos] * math.ceil(batches * params.batch_size / len(photos)))


def shared(
    photos: ConcatDataset[tuple[Pixels, int]], params: config.Train, world: World
) -> tuple[Batches, DistributedSampler[Any]]:
    """This process's part of each batch, and what shuffles it. Raises SystemExit where a batch cannot be shared."""
    if params.batch_size % world.size:
        raise SystemExit(f"train.batch_size is {params.batch_size}; expected a multiple of the {world.size} processes")
    share: DistributedSampler[Any] = DistributedSampler(photos, world.size, world.rank, seed=params.seed)
    return loader(photos, params.batch_size // world.size, params.workers, sampler=share), share


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def validate(model: nn.Module, batches: Batches, world: World) -> dict[str, float]:
    """Loss without smoothing, and the classification metrics, of the averaged weights."""
    scored = predict(model, batches, world.device)
    loss = nn.functional.cross_entropy(torch.from_numpy(scored.logits), torch.from_numpy(scored.labels))
    return prefixed("val", {"loss": float(loss), **classification(scored.logits.argmax(1), scored.labels)})


def keep(progress: Progress, record: dict[str, float], model: nn.Module, lr: float) -> None:
    """Add the epoch; its weights too where it is the best so far."""
    if not math.isfinite(record["val_loss"]):
        raise SystemExit(
            f"epoch {record['epoch']:.0f}: the validation loss is {record['val_loss']}; a lower lr than {lr}?"
        )
    progress.history.append(record)
    if record is min(progress.history, key=lambda r: r["val_loss"]):
        state = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
        progress.best = {"state_dict": state, "epoch": record}


def patience_is_over(progress: Progress, patience: int) -> bool:
    if not progress.history or len(progress.history) - progress.best["epoch"]["epoch"] < patience:
        return False
    loss = progress.best["epoch"]["val_loss"]
    print(f"early stop: no better validation loss than {loss:.4f} for {patience} epochs")
    return True


def finish(progress: Progress, about: dict[str, Any]) -> None:
    """All that the later stages need to rebuild the network; the state has done its work."""
    about = about | {"run_id": progress.run_id}
    save_atomically(progress.best | about, CHECKPOINT)
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(about | {"best": progress.best["epoch"]}, indent=2) + "\n")
    HISTORY.parent.mkdir(parents=True, exist_ok=True)
    with HISTORY.open("w", newline="") as file:
        writer = csv.DictWriter(file, progress.history[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(progress.history)
    plots.curves(progress.history, CURVES)
    mlflow.log_metrics({f"best_{key}": value for key, value in progress.best["epoch"].items()})
    for path in (CHECKPOINT, METRICS, HISTORY, CURVES):
        mlflow.log_artifact(str(path))
    STATE.unlink()


if __name__ == "__main__":
    main()
