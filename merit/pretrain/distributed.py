"""The processes that train together (torchrun): who this one is, and how embeddings of all of them meet in one loss.

Every process holds the same weights and a share of each batch. A term that needs the whole batch (InfoNCE, the
bottleneck) is computed from all rows by every process; its gradient reaches this process's rows through `gather`,
scaled so that the mean of gradients that DistributedDataParallel takes is the gradient of one process with the whole
batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor

from merit.parallel import together


@dataclass(frozen=True)
class World:
    """This process among those that train together; one alone by default."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this process writes, validates and shows progress."""
        return self.rank == 0

    def share(self, whole: Tensor) -> Tensor:
        """This process's consecutive rows of what all of them drew alike; [B, ...] to [B / size, ...]."""
        part = len(whole) // self.size
        return whole[self.rank * part : (self.rank + 1) * part]

    def gather(self, rows: Tensor) -> Tensor:
        """[B / size, ...] of each process to [B, ...], in the order of ranks, with gradients for this one's rows."""
        return rows if self.size == 1 else _Gather.apply(rows, self.rank, self.size)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes."""
        if self.size > 1:
            dist.all_reduce(values := values.clone())
        return values / self.size

    def any(self, here: bool) -> bool:
        """Whether it holds in any process; all of them must ask."""
        if self.size == 1:
            return here
        flag = torch.tensor(float(here), device=self.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag.item())

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)


class _Gather(torch.autograd.Function):
    """All rows of all processes; backward gives this one's rows, times the number of processes (see above)."""

    @staticmethod
    def forward(ctx, rows: Tensor, rank: int, size: int) -> Tensor:
        ctx.rank, ctx.size, ctx.n = rank, size, len(rows)
        out = [torch.empty_like(rows) for _ in range(size)]
        dist.all_gather(out, rows.contiguous())
        return torch.cat(out)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.rank * ctx.n : (ctx.rank + 1) * ctx.n] * ctx.size, None, None


@contextmanager
def joined(device: str) -> Iterator[World]:
    """The world that torchrun's environment describes, joined and left again; one alone without it.

    device: cpu, cuda (each process its own GPU of its machine), or cuda:1 for one process. ValueError where a machine
    has more processes than GPUs.
    """
    if not together():
        yield World(device=torch.device(device))
        return
    target = torch.device(device)
    if target.type == "cuda":
        place, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if place >= there:
            raise ValueError(f"device: expected a GPU for each process of a machine; got process {place}, {there} GPUs")
        target = torch.device("cuda", place)
        torch.cuda.set_device(target)
    own = not dist.is_initialized()
    if own:
        dist.init_process_group("nccl" if target.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), target)
    finally:
        if own:
            dist.destroy_process_group()
