"""Several processes, one batch: what training needs so that more processes only save time."""

from collections.abc import Iterable

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
    """Return the rows, (B, ...), of all processes in the order of their ranks, (W * B, ...).

    Differentiable: a row's gradient is the sum of what every process's loss asks of it. So when
    every process computes the same loss of all rows, and gradients are then averaged over
    processes (:func:`average`), they are those of one process with the whole batch. Every process
    must bring the same number of rows. Outside a process group: ``rows`` itself.
    """
    return rows if world_size() == 1 else torch.cat(all_gather(rows.contiguous()))


@torch.no_grad()
def average(tensors: Iterable[Tensor]) -> None:
    """Replace floating-point tensors on one device, in place, by their means over all processes.

    Tensors of one dtype travel as one message. Every process must bring the same shapes in the
    same order.
    """
    if world_size() == 1:
        return
    given = list(tensors)
    for dtype in dict.fromkeys(tensor.dtype for tensor in given):
        group = [tensor for tensor in given if tensor.dtype == dtype]
        flat = torch.cat([tensor.reshape(-1) for tensor in group])
        dist.all_reduce(flat)
        flat /= world_size()
        for tensor, part in zip(group, flat.split([t.numel() for t in group]), strict=True):
            tensor.copy_(part.view(tensor.shape))


@torch.no_grad()
def spread(tensors: Iterable[Tensor]) -> None:
    """Replace tensors, in place, by those of process 0."""
    if world_size() == 1:
        return
    for tensor in tensors:
        whole = tensor.detach().contiguous()  # channels-last weights cannot be sent as they lie
        dist.broadcast(whole, src=0)
        if whole.data_ptr() != tensor.data_ptr():
            tensor.copy_(whole)


def join_rows(rows: Tensor, places: Tensor, total: int) -> Tensor:
    """Return a table whose rows several processes have computed, (total, D), in all of them.

    This process has ``rows``, (B, D), without gradient, which belong at ``places``, (B,) int64. B
    may differ between processes; no two have the same place.
    """
    table = rows.new_zeros(total, *rows.shape[1:])
    table[places] = rows
    if world_size() > 1:
        dist.all_reduce(table)
    return table
