"""Train on the training split and write `artifacts/checkpoint.pt` with weights, params and class names.

An epoch depends only on the state before it and on its number. An interrupted training therefore resumes after its last
complete epoch and, on a CPU, ends with the same weights. `torchrun --nproc_per_node=N -m training.train` splits each
batch among N processes.
"""

import math
import random
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import mlflow
import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from training import config, plots
from training.batches import Batches
from training.csv_file import write_rows
from training.distributed import World, join_world
from training.figures import PLOTS
from training.interruption import UserError, exit_when_interrupted
from training.manifest import MANIFEST, list_classes, read_manifest
from training.metrics import add_prefix, classification_metrics
from training.model import CHECKPOINT, count_parameters, predict
from training.optimize import build_networks, build_state, train_epoch
from training.sampling import Data, load_data
from training.source import PHOTOS, sha256
from training.split import SPLITS, Row
from training.state import (
    OLD_STATE,
    STATE,
    Progress,
    TrainingState,
    hash_code,
    hash_weights,
    keep_freed_memory,
    read_run_id,
    release_freed_memory,
    save_atomically,
)
from training.tracking import describe_run, end_abandoned_run, git_commit, log_dataset, name_run, start_run

HISTORY, CURVES = PLOTS / "history.csv", PLOTS / "curves.png"


def main() -> None:
    keep_freed_memory()
    world = join_world()
    progress = Progress()
    with exit_when_interrupted(lambda: describe_interruption(progress) if world.is_main else ""):
        params, augment = config.load(config.Train), config.load(config.Augment)
        validation = config.load(config.Evaluate)  # validates at the image size of the evaluation
        rows = read_manifest()
        data = load_data(rows, params, augment, validation, world)

        seed_everything(params.seed)
        model, teacher = build_networks(params, len(list_classes(rows)), world.device)
        state = build_state(model, params, params.epochs * len(data.train))
        description = {"train": asdict(params), "augment": asdict(augment), "class_names": list_classes(rows)}
        identity = identify(description, model, validation, world)
        learner: nn.Module = DistributedDataParallel(model) if world.size > 1 else model

        progress = resume(state, identity, world)
        provenance = {"data_hash": identity["data_hash"], "git_commit": git_commit()}
        with start_training_run(progress, params, rows) if world.is_main else nullcontext():
            if world.is_main and not progress.run_id:
                progress.run_id = log_start(params, augment, model, identity, provenance)
                state.save(progress, identity)  # so that the first epoch, too, resumes this run
            for epoch in range(len(progress.history) + 1, params.epochs + 1):
                if reason := find_stop_reason(progress, params):
                    if world.is_main:
                        print(f"early stop: {reason}")
                    break
                record = run_epoch(epoch, learner, teacher, data, state, params, world)
                record_epoch(progress, record, state.average.module, params.lr)
                if world.is_main:
                    log_epoch(record)
                    state.save(progress, identity)
            if world.is_main:
                write_results(progress, description | provenance)
    world.leave()


def identify(
    description: dict[str, Any], model: nn.Module, validation: config.Evaluate, world: World
) -> dict[str, Any]:
    """Return the description with everything else that the epochs depend on: only the same training can resume."""
    return description | {
        "data_hash": sha256(MANIFEST),
        "val_size": validation.image_size,
        "initial_weights": hash_weights(model),  # the file of pretrained weights may have changed under the same name
        "processes": world.size,
        "code": hash_code(),
    }


def resume(state: TrainingState, identity: dict[str, Any], world: World) -> Progress:
    """Load the state and progress of an interrupted training. If it has another identity, set its state aside."""
    progress = state.resume(identity)
    world.wait()  # a main process with no epochs left would remove the state before the others have read it
    if world.is_main and STATE.exists() and not progress.run_id:
        end_abandoned_run(read_run_id(STATE))
        STATE.replace(OLD_STATE)
    return progress


def start_training_run(progress: Progress, params: config.Train, rows: list[Row]) -> mlflow.ActiveRun:
    """Start the MLflow run of a training, or continue that of a resumed one."""
    names, counts = list_classes(rows), Counter(row.split for row in rows)
    description = describe_run(params, names, {split: counts[split] for split in SPLITS})
    return start_run(progress.run_id, name_run(params, names), description)


def log_start(
    params: config.Train,
    augment: config.Augment,
    model: nn.Module,
    identity: dict[str, Any],
    provenance: dict[str, str],
) -> str:
    """Log the params, provenance and data of a new training to the active MLflow run, and return the ID of the run."""
    mlflow.set_tags(provenance)
    facts = {"classes": identity["class_names"], "processes": identity["processes"]}
    mlflow.log_params(config.flatten(params, augment) | facts | {"parameters": count_parameters(model)})
    log_dataset(MANIFEST, PHOTOS)
    run_id: str = mlflow.active_run().info.run_id
    return run_id


def describe_interruption(progress: Progress) -> str:
    finished = len(progress.history)
    moment = f"after epoch {finished}" if finished else "before the end of epoch 1"
    return f"interrupted {moment}; run the same command to resume"


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def run_epoch(
    epoch: int,
    learner: nn.Module,
    teacher: nn.Module | None,
    data: Data,
    state: TrainingState,
    params: config.Train,
    world: World,
) -> dict[str, float]:
    """Train one epoch, and validate the averaged weights. Return the learning rate, the speed and the metrics."""
    seed_everything(params.seed + epoch * world.size + world.rank)
    data.sampler.set_epoch(epoch)
    release_freed_memory()
    # `with` closes the bar before an interruption is reported, so that the report is the last line.
    with tqdm(data.train, f"epoch {epoch}/{params.epochs}", unit="batch", disable=not world.is_main) as progress_bar:
        metrics = train_epoch(learner, teacher, progress_bar, state, params)
    metrics["images_per_second"] *= world.size
    release_freed_memory()
    record = {"epoch": epoch, "lr": state.optimizer.param_groups[-1]["lr"], **metrics}
    return record | world.broadcast(validate(state.average, data.val) if world.is_main else {})


def validate(model: nn.Module, batches: Batches) -> dict[str, float]:
    """Return the loss, without label smoothing, and the classification metrics of the averaged weights."""
    predictions = predict(model, batches)
    logits, labels = predictions.logits, predictions.labels
    loss = nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    return add_prefix("val", {"loss": float(loss), **classification_metrics(logits.argmax(1), labels)})


def record_epoch(progress: Progress, record: dict[str, float], model: nn.Module, lr: float) -> None:
    """Append the epoch to the history, and keep its weights if its validation loss is the lowest so far.

    Raise `UserError` if the validation loss is not finite.
    """
    if not math.isfinite(record["val_loss"]):
        raise UserError(
            f"epoch {record['epoch']:.0f}: the validation loss is {record['val_loss']}; expected a finite number; set "
            f"train.lr below {lr}"
        )
    progress.history.append(record)
    if record is min(progress.history, key=lambda r: r["val_loss"]):
        weights = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
        progress.best = {"state_dict": weights, "epoch": record}


def log_epoch(record: dict[str, float]) -> None:
    """Log the metrics of an epoch to MLflow, and print them."""
    mlflow.log_metrics({key: value for key, value in record.items() if key != "epoch"}, step=int(record["epoch"]))
    print(" ".join(f"{key} {value:.4g}" for key, value in record.items()), flush=True)


def find_stop_reason(progress: Progress, params: config.Train) -> str | None:
    """Return why training should stop before the last epoch, or None."""
    if progress.history and len(progress.history) - progress.best["epoch"]["epoch"] >= params.patience:
        loss = progress.best["epoch"]["val_loss"]
        return f"no better validation loss than {loss:.4f} for {params.patience} epochs"
    last = progress.history[-params.perfect_epochs :]
    if len(last) == params.perfect_epochs and all(record["val_accuracy"] == 1 for record in last):
        return f"no mistake in validation for {params.perfect_epochs} epochs (train.perfect_epochs)"
    return None


def write_results(progress: Progress, description: dict[str, Any]) -> None:
    """Write the checkpoint, history and plot, log them to MLflow, and remove the state."""
    save_atomically(progress.best | description | {"run_id": progress.run_id}, CHECKPOINT)
    write_rows(HISTORY, progress.history[0], progress.history)
    plots.curves(progress.history, CURVES)
    mlflow.log_metrics({f"best_{key}": value for key, value in progress.best["epoch"].items()})
    for path in (CHECKPOINT, HISTORY, CURVES):
        mlflow.log_artifact(str(path))
    STATE.unlink()


if __name__ == "__main__":
    main()
