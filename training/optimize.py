"""Train one epoch: the loss, the optimizer step and the moving average of the weights."""

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training import config
from training.metrics import add_prefix, classification_metrics
from training.model import build
from training.networks import Network
from training.state import TrainingState

DISTILLATION_TEMPERATURE = 2.0  # of both softmaxes, as in Li & Hoiem 2016
AverageUpdate = Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor], torch.Tensor | int], None]


def build_networks(params: config.Train, classes: int, device: torch.device) -> tuple[Network, Network | None]:
    """Return the network to train and its teacher: a copy of it, or None if there is nothing to distill."""
    model = build(params.architecture, classes, params.dropout, params.weights)
    model.freeze_batch_norm = params.freeze_batch_norm
    model = model.to(device).to(memory_format=torch.channels_last)  # on two cores 1.4 to 1.7x the speed of NCHW
    is_distilled = params.distillation_weight and model.frozen_head is not None
    return model, copy.deepcopy(model).eval() if is_distilled else None


def build_state(model: Network, params: config.Train, steps: int) -> TrainingState:
    """Return the model with its moving average, optimizer and learning-rate schedule for `steps` steps."""
    average = AveragedModel(model, multi_avg_fn=ema_update(params.ema_decay), use_buffers=True)
    groups = parameter_groups(model, params)
    optimizer = torch.optim.AdamW(groups, lr=params.lr, fused=True)
    warmup = params.warmup if params.warmup * steps > 1 else 0.0  # for a warm-up of one step torch divides by zero
    peaks = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=steps, pct_start=warmup)
    return TrainingState(model, average, optimizer, schedule)


def ema_update(decay: float) -> AverageUpdate:
    """Return the update of a moving average with decay min(decay, (1 + n) / (10 + n)): early weights count little."""

    def update(averages: Sequence[torch.Tensor], values: Sequence[torch.Tensor], n: torch.Tensor | int) -> None:
        get_ema_multi_avg_fn(min(decay, (1 + int(n)) / (10 + int(n))))(averages, values, n)

    return update


def parameter_groups(model: Network, params: config.Train) -> list[dict[str, Any]]:
    """Return the optimizer's groups: the body at `body_lr` of the rate; no weight decay for biases and norm scales."""
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
    state: TrainingState,
    params: config.Train,
) -> dict[str, float]:
    """Train on every batch once. Return the speed, and the metrics on the augmented photos, of this process."""
    model.train()
    device = next(model.parameters()).device
    losses, predicted, labels = [], [], []  # losses and predictions stay on the device: reading them would wait for it
    start = time.perf_counter()
    for images, target in batches:
        images = images.to(device, memory_format=torch.channels_last, non_blocking=True)  # (N, 3, S, S) uint8
        loss, logits = compute_loss(model, teacher, images, target.to(device, non_blocking=True), params)
        update_weights(state, loss)
        losses.append(loss.detach())
        predicted.append(logits.argmax(1))
        labels.append(target)
    mean_loss = float(torch.stack(losses).mean())
    speed = sum(map(len, labels)) / (time.perf_counter() - start)
    metrics = classification_metrics(torch.cat(predicted).cpu().numpy(), torch.cat(labels).numpy())
    return {"images_per_second": speed, **add_prefix("train", {"loss": mean_loss, **metrics})}


def compute_loss(
    model: nn.Module, teacher: nn.Module | None, images: torch.Tensor, target: torch.Tensor, params: config.Train
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss, with distillation if there is a teacher, and the logits (N, C)."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=params.bf16):
        logits, frozen_logits = model(images)  # (N, C), (N, K)
        loss = nn.functional.cross_entropy(logits.float(), target, label_smoothing=params.label_smoothing)
        if teacher is not None:
            with torch.no_grad():
                teacher_logits = teacher(images)[1]
            distillation = distillation_loss(frozen_logits.float(), teacher_logits.float())
            loss = loss + params.distillation_weight * distillation
    return loss, logits


def update_weights(state: TrainingState, loss: torch.Tensor) -> None:
    """Take one step of the optimizer, the learning-rate schedule and the moving average."""
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    state.optimizer.step()
    state.schedule.step()
    state.average.update_parameters(state.model)


def distillation_loss(student_logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
    """Return T² · KL(teacher || student) in nats, averaged over photos.

    Both softmaxes take logits (N, K) / T (Hinton et al. 2015).
    """
    temperature = DISTILLATION_TEMPERATURE
    student = nn.functional.log_softmax(student_logits / temperature, dim=1)
    teacher = nn.functional.log_softmax(teacher_logits / temperature, dim=1)
    return temperature**2 * nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
