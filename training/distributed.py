"""Join the group of processes that `torchrun` starts, and exchange values with them."""

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

from training.interruption import UserError


@dataclass(frozen=True)
class World:
    """This process within its group; without `torchrun`, rank 0 in a group of one."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def broadcast(self, value: Any) -> Any:
        """Return the value of rank 0 on every rank."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def wait(self) -> None:
        """Block until every process has called this method."""
        if self.size > 1:
            distributed.barrier()

    def leave(self) -> None:
        """Leave the process group."""
        if self.size > 1:
            distributed.destroy_process_group()


def join_world() -> World:
    """Join the process group of `torchrun`'s environment: NCCL if each process has a GPU, gloo on CPUs.

    Raise `UserError` if the machine has GPUs, but fewer than processes.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0  # an outdated driver counts unusable GPUs
    if 0 < gpus < local_size:
        raise UserError(
            f"{local_size} processes on a machine with {gpus} GPU(s); expected --nproc_per_node={gpus} at most, or "
            "CUDA_VISIBLE_DEVICES= to train on its CPU"
        )
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if gpus else torch.device("cpu")
    if gpus:
        torch.cuda.set_device(device)
    if size > 1:
        distributed.init_process_group("nccl" if gpus else "gloo")
    return World(rank, size, device)
