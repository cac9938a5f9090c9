"""One process, or the several that `torchrun` starts: who we are, and what we tell each other."""

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed


@dataclass(frozen=True)
class World:
    """This process among its peers; rank 0 of 1 without `torchrun`."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, value: Any) -> Any:
        """What rank 0 says, on every rank."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def wait(self) -> None:
        """Until every process has come here."""
        if self.size > 1:
            distributed.barrier()

    def leave(self) -> None:
        if self.size > 1:
            distributed.destroy_process_group()


def join() -> World:
    """NCCL where each process has a GPU, gloo on CPUs; `torchrun` sets the environment.

    Raises SystemExit where there are more processes than GPUs, if there are any.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0  # of those that a too old driver lists, none
    if 0 < gpus < here:
        raise SystemExit(
            f"{here} processes on a machine with {gpus} GPU(s); expected --nproc_per_node={gpus} at most, or "
            "CUDA_VISIBLE_DEVICES= to train on its CPU"
        )
    gpu = gpus > 0
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    if size > 1:
        distributed.init_process_group("nccl" if gpu else "gloo")
    return World(rank, size, device)
