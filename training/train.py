"""Stage 2: the training split to `artifacts/checkpoint.pt`, which carries weights, params and class names.

An epoch follows from the weights it starts with and from its number alone, so a training that was cut off goes on from
its last epoch to the same weights. `torchrun --nproc_per_node=N -m training.train` shares each batch among N processes.
"""

import copy
import csv
import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import mlflow
import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DistributedSampler
from tqdm import tqdm

from training import config
from training.augment import Augmented
from training.data import Batches, Upright, class_names, loader, read_manifest, read_split
from training.distributed import World, join
from training.metrics import classification
from training.model import CHECKPOINT, build, count_parameters, predict
from training.networks import Network
from training.prepare import MANIFEST
from training.source import sha256
from training.state import STATE, Parts, Progress, fingerprint, keep_memory, save_atomically
from training.tracking import git_commit, start_run

HISTORY = Path("artifacts/plots/history.csv")
CURVES = Path("artifacts/plots/curves.png")
METRICS = Path("artifacts/metrics/train.json")
FORGETTING_TEMPERATURE = 2.0  # of both softmaxes, as in Li & Hoiem 2016


def main() -> None:
    keep_memory()
    world = join()
    params, augment, test = config.load(config.Train), config.load(config.Augment), config.load(config.Evaluate)
    rows = read_manifest()
    names = class_names(rows)
    train_photos = read_split(rows, "train", Augmented(augment, params.image_size))
    if params.batch_size % world.size:
        raise SystemExit(f"train.batch_size is {params.batch_size}; expected a multiple of the {world.size} processes")
    share: DistributedSampler[Any] = DistributedSampler(train_photos, world.size, world.rank, seed=params.seed)
    train_batches = loader(train_photos, params.batch_size // world.size, params.workers, sampler=share)
    val_batches = loader(read_split(rows, "val", Upright(test.image_size)), test.batch_size, params.workers)

    seed_everything(params.seed)
    model = build(params.architecture, len(names), params.dropout, params.weights)
    model.freeze_batch_norm = params.freeze_batch_norm
    start = fingerprint(model)  # the file of pretrained weights may be another one than last time
    model = model.to(world.device).to(memory_format=torch.channels_last)  # on two cores 1.4 to 1.7x the speed of NCHW
    teacher = copy.deepcopy(model).eval() if params.recall and model.memory is not None else None
    epochs = max(params.epochs, math.ceil(params.min_steps / len(train_batches)))
    parts = make_parts(model, params, epochs * len(train_batches))
    learner: nn.Module = DistributedDataParallel(model) if world.size > 1 else model

    provenance = {"data_hash": sha256(MANIFEST), "git_commit": git_commit()}
    about = {"train": asdict(params), "augment": asdict(augment), "class_names": names}
    identity = about | {
        "data_hash": provenance["data_hash"],
        "val_size": test.image_size,
        "start": start,
        "processes": world.size,
        "code": code(),
    }
    progress = parts.resume(identity)
    world.wait()  # a lead with nothing left to train would remove the state before the others have read it
    with start_run(progress.run_id) if world.leads else nullcontext() as run:
        if run is not None and not progress.run_id:
            progress.run_id = run.info.run_id
            mlflow.set_tags(provenance)
            counts = {"parameters": count_parameters(model), "classes": names, "processes": world.size}
            mlflow.log_params(config.flat(params, augment) | counts)
            parts.save(progress, identity)  # cut off in its first epoch, too, a training goes on in the same run
        for epoch in range(len(progress.history) + 1, epochs + 1):
            if patience_is_over(progress, params.patience):
                break
            seed_everything(params.seed + epoch * world.size + world.rank)
            share.set_epoch(epoch)
            bar = tqdm(train_batches, desc=f"epoch {epoch}/{epochs}", unit="batch", disable=not world.leads)
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


def make_parts(model: Network, params: config.Train, steps: int) -> Parts:
    average = AveragedModel(model, multi_avg_fn=ema(params.ema_decay), use_buffers=True)
    groups = parameter_groups(model, params)
    optimizer = torch.optim.AdamW(groups, lr=params.lr, fused=True)
    warmup = params.warmup if params.warmup * steps > 1 else 0.0  # one step cannot rise: torch divides by zero
    peaks = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=steps, pct_start=warmup)
    return Parts(model, average, optimizer, schedule)


def train_epoch(
    model: nn.Module,
    teacher: nn.Module | None,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    parts: Parts,
    params: config.Train,
) -> dict[str, float]:
    """One pass; what the network scored on the augmented photos (of this process) while it learnt, and how fast."""
    model.train()
    device = next(model.parameters()).device
    losses, predicted, labels = [], [], []  # on the device: to ask for one would wait for all that it has to do
    began = time.perf_counter()
    for images, target in batches:
        images = images.to(device, memory_format=torch.channels_last, non_blocking=True)  # (N, 3, S, S) uint8
        with torch.autocast(device.type, torch.bfloat16, enabled=params.bf16):
            logits, recalled = model(images)  # (N, C), (N, K)
            expected = target.to(device, non_blocking=True)
            loss = nn.functional.cross_entropy(logits.float(), expected, label_smoothing=params.label_smoothing)
            if teacher is not None:
                with torch.no_grad():
                    known = teacher(images)[1]
                loss = loss + params.recall * forgetting(recalled.float(), known.float())
        parts.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parts.optimizer.step()
        parts.schedule.step()
        parts.average.update_parameters(parts.model)
        losses.append(loss.detach())
        predicted.append(logits.detach().argmax(1))
        labels.append(target)
    mean_loss = float(torch.stack(losses).mean())
    speed = sum(map(len, labels)) / (time.perf_counter() - began)
    scores = classification(torch.cat(predicted).cpu().numpy(), torch.cat(labels).numpy())
    return {"images_per_second": speed, **prefixed("train", {"loss": mean_loss, **scores})}


def forgetting(recalled: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence, in nats, of what is recalled from what was known: (N, K) logits each."""
    temperature = FORGETTING_TEMPERATURE
    student = nn.functional.log_softmax(recalled / temperature, dim=1)
    teacher = nn.functional.log_softmax(known / temperature, dim=1)
    return temperature**2 * nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


def code() -> str:
    """SHA-256 of what decides, beside the params, what an epoch does; a training of two halves would be neither's."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def ema(decay: float) -> Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor], torch.Tensor | int], None]:
    """Exponential moving average that forgets its start: a decay of (1 + n) / (10 + n) until it reaches `decay`."""

    def update(averages: Sequence[torch.Tensor], values: Sequence[torch.Tensor], n: torch.Tensor | int) -> None:
        get_ema_multi_avg_fn(min(decay, (1 + int(n)) / (10 + int(n))))(averages, values, n)

    return update


def parameter_groups(model: Network, params: config.Train) -> list[dict[str, Any]]:
    """The body learns at `body_lr` of the rate; matrices and kernels decay, biases and batch-norm scales do not."""
    rates = {model.body: params.lr * params.body_lr, model.head: params.lr}
    return [
        {"params": group, "lr": lr, "weight_decay": decay}
        for part, lr in rates.items()
        for group, decay in (
            ([p for p in part.parameters() if p.ndim > 1], params.weight_decay),
            ([p for p in part.parameters() if p.ndim <= 1], 0.0),
        )
        if group
    ]


def validate(model: nn.Module, batches: Batches, world: World) -> dict[str, float]:
    """Loss without smoothing, and the classification metrics, of the averaged weights."""
    scored = predict(model, batches, world.device)
    loss = nn.functional.cross_entropy(torch.from_numpy(scored.logits), torch.from_numpy(scored.labels))
    return prefixed("val", {"loss": float(loss), **classification(scored.logits.argmax(1), scored.labels)})


def prefixed(split: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{split}_{name}": value for name, value in metrics.items()}


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
    about |= {"run_id": progress.run_id}
    save_atomically(progress.best | about, CHECKPOINT)
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(about | {"best": progress.best["epoch"]}, indent=2) + "\n")
    write_history(progress.history)
    mlflow.log_metrics({f"best_{key}": value for key, value in progress.best["epoch"].items()})
    for path in (CHECKPOINT, METRICS, HISTORY, CURVES):
        mlflow.log_artifact(str(path))
    STATE.unlink()


def write_history(history: list[dict[str, float]]) -> None:
    HISTORY.parent.mkdir(parents=True, exist_ok=True)
    with HISTORY.open("w", newline="") as file:
        writer = csv.DictWriter(file, history[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = [record["epoch"] for record in history]
    for axis, metric in zip(axes, ("loss", "accuracy"), strict=True):
        for split in ("train", "val"):
            axis.plot(epochs, [record[f"{split}_{metric}"] for record in history], marker="o", label=split)
        axis.set(xlabel="epoch", ylabel=metric)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(CURVES, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
