"""Several processes, one batch: what losses need so that more processes only save time."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.nn.functional import all_gather


def world_size() -> int:
    """Return the number of processes that train together; 1 outside a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number, 0 outside a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows of all processes in the order of their ranks, (W * B, ...).

    Differentiable: a row's gradient is the sum of what every process's loss asks of it. So when
    every process computes the same loss of all rows, and gradients are then averaged over
    processes (DistributedDataParallel does), they are those of one process with the whole batch.
    Every process must bring the same number of rows. Outside a process group: ``rows`` itself.

    Args:
        rows: This process's rows, (B, ...).
    """
    if world_size() == 1:
        return rows
    if not rows.requires_grad:
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)
    return torch.cat(all_gather(rows.contiguous()))
