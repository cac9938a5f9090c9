"""One epoch: the loss, the step, the moving average; and what they need beside the network."""

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training import config
from training.metrics import classification, prefixed
from training.model import build
from training.networks import Network
from training.state import Parts

FORGETTING_TEMPERATURE = 2.0  # of both softmaxes, as in Li & Hoiem 2016


def make_networks(params: config.Train, classes: int, device: torch.device) -> tuple[Network, Network | None]:
    """The one that learns, and a copy that knows what it is not to forget: None where there is nothing."""
    model = build(params.architecture, classes, params.dropout, params.weights)
    model.freeze_batch_norm = params.freeze_batch_norm
    model = model.to(device).to(memory_format=torch.channels_last)  # on two cores 1.4 to 1.7x the speed of NCHW
    return model, copy.deepcopy(model).eval() if params.recall and model.memory is not None else None


def make_parts(model: Network, params: config.Train, steps: int) -> Parts:
    average = AveragedModel(model, multi_avg_fn=ema(params.ema_decay), use_buffers=True)
    groups = parameter_groups(model, params)
    optimizer = torch.optim.AdamW(groups, lr=params.lr, fused=True)
    warmup = params.warmup if params.warmup * steps > 1 else 0.0  # one step cannot rise: torch divides by zero
    peaks = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=steps, pct_start=warmup)
    return Parts(model, average, optimizer, schedule)


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


def train_epoch(
    model: nn.Module,
    teacher: nn.Module | None,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    parts: Parts,
    params: config.Train,
) -> dict[str, float]:
    """One pass; what the network scored on the augmented photos while it learnt, and how fast: of this process."""
    model.train()
    device = next(model.parameters()).device
    losses, predicted, labels = [], [], []  # the first two on the device: to ask for one would wait for all its work
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
