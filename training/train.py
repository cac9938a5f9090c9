"""Stage 2: the training split to `artifacts/checkpoint.pt`, which carries weights, params and class names."""

import csv
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import mlflow
import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from training import config
from training.data import Augmented, Upright, class_names, loader, read_manifest, read_split
from training.metrics import classification
from training.model import CHECKPOINT, build, count_parameters, predict
from training.prepare import MANIFEST
from training.source import sha256
from training.tracking import git_commit, start_run

HISTORY = Path("artifacts/plots/history.csv")
CURVES = Path("artifacts/plots/curves.png")


def main() -> None:
    params, augment, test = config.load(config.Train), config.load(config.Augment), config.load(config.Evaluate)
    seed_everything(params.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    rows = read_manifest()
    names = class_names(rows)
    train_photos = read_split(rows, "train", Augmented(augment, params.image_size))
    train_batches = loader(train_photos, params.batch_size, params.workers, shuffle=True, seed=params.seed)
    val_photos = read_split(rows, "val", Upright(test.image_size))
    val_batches = loader(val_photos, test.batch_size, params.workers, shuffle=False)

    model = build(params.architecture, len(names), params.dropout, params.weights)
    model = model.to(device).to(memory_format=torch.channels_last)  # on two AMX cores 1.4x the images/s of NCHW
    average = AveragedModel(model, multi_avg_fn=ema(params.ema_decay), use_buffers=True)
    optimizer = torch.optim.AdamW(decay_groups(model, params.weight_decay), lr=params.lr, fused=True)
    steps = params.epochs * len(train_batches)
    warmup = params.warmup if params.warmup * steps > 1 else 0.0  # one step cannot rise: torch divides by zero
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, params.lr, total_steps=steps, pct_start=warmup)

    history: list[dict[str, float]] = []
    with start_run() as run:
        provenance = {"data_hash": sha256(MANIFEST), "git_commit": git_commit()}
        mlflow.set_tags(provenance)
        mlflow.log_params(config.flat(params, augment) | {"parameters": count_parameters(model), "classes": names})
        about = {"train": asdict(params), "augment": asdict(augment), "class_names": names, "run_id": run.info.run_id}
        for epoch in range(1, params.epochs + 1):
            bar = tqdm(train_batches, desc=f"epoch {epoch}/{params.epochs}", unit="batch")
            trained = train_epoch(model, bar, optimizer, schedule, average, params)
            record = {"epoch": epoch, "lr": optimizer.param_groups[0]["lr"], **trained}
            record |= validate(average, val_batches, device)
            if not math.isfinite(record["val_loss"]):
                raise SystemExit(
                    f"epoch {epoch}: the validation loss is {record['val_loss']}; a lower lr than {params.lr}?"
                )
            history.append(record)
            mlflow.log_metrics({k: v for k, v in record.items() if k != "epoch"}, step=epoch)
            print(" ".join(f"{key} {value:.4g}" for key, value in record.items()))

            best = min(history, key=lambda r: r["val_loss"])
            if best is record:
                save_checkpoint({"state_dict": average.module.state_dict(), "epoch": record} | about | provenance)
            if epoch - best["epoch"] >= params.patience:
                print(f"early stop: no better validation loss than {best['val_loss']:.4f} for {params.patience} epochs")
                break
        write_history(history)
        mlflow.log_metrics({f"best_{key}": value for key, value in best.items()})
        for path in (CHECKPOINT, HISTORY, CURVES):
            mlflow.log_artifact(str(path))


def train_epoch(
    model: nn.Module,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    average: AveragedModel,
    params: config.Train,
) -> dict[str, float]:
    """One pass; what the network scored on the augmented photos while it learnt, and how fast."""
    model.train()
    device = next(model.parameters()).device
    losses, predicted, labels = [], [], []
    began = time.perf_counter()
    for images, target in batches:
        images = images.to(device, memory_format=torch.channels_last, non_blocking=True)  # (N, 3, S, S) uint8
        with torch.autocast(device.type, torch.bfloat16, enabled=params.bf16):
            logits = model(images)  # (N, C)
            loss = nn.functional.cross_entropy(
                logits.float(), target.to(device), label_smoothing=params.label_smoothing
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(model)
        losses.append(loss.detach())
        predicted.append(logits.detach().argmax(1).cpu())
        labels.append(target)
    speed = sum(map(len, labels)) / (time.perf_counter() - began)
    scores = classification(torch.cat(predicted).numpy(), torch.cat(labels).numpy())
    return {"images_per_second": speed, **prefixed("train", {"loss": float(torch.stack(losses).mean()), **scores})}


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def ema(decay: float) -> Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor], torch.Tensor | int], None]:
    """Exponential moving average that forgets its start: a decay of (1 + n) / (10 + n) until it reaches `decay`."""

    def update(averages: Sequence[torch.Tensor], values: Sequence[torch.Tensor], n: torch.Tensor | int) -> None:
        get_ema_multi_avg_fn(min(decay, (1 + int(n)) / (10 + int(n))))(averages, values, n)

    return update


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels; none for biases and batch-norm scales."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def validate(
    model: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]], device: torch.device
) -> dict[str, float]:
    """Loss without smoothing, and the classification metrics, of the averaged weights."""
    logits, labels = predict(model, batches, device)
    loss = nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    return prefixed("val", {"loss": float(loss), **classification(logits.argmax(1), labels)})


def prefixed(split: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{split}_{name}": value for name, value in metrics.items()}


def save_checkpoint(checkpoint: dict[str, Any]) -> None:
    """All that the later stages need to rebuild the network; written beside and renamed, so never half."""
    partial = CHECKPOINT.with_suffix(".partial")
    torch.save(checkpoint, partial)
    partial.rename(CHECKPOINT)


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


if __name__ == "__main__":
    main()
