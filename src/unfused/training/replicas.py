"""What keeps a method the same in every process that trains it.

Each process passes its part of the batch through its own copy of the method. A copy changes by the
optimiser (gradients are averaged before), by batch norm's running averages (averaged after each
step), by ``start_epoch`` (its result is process 0's) and by what ``forward`` and ``after_step``
write; these gather what they write from all processes. So every copy is equal, and process 0's
checkpoint is everyone's. (DistributedDataParallel is not used: methods call their sub-modules
outside ``forward`` too, and some pass batches in which parameters have no part. What it would hide,
sending gradients while others are computed, is little for encoders of this size.)
"""

from __future__ import annotations

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..core.distributed import average, rank, spread, world_size


class Replicas:
    """The copies of a method, seen from one process, which may be alone.

    ``sync_batch_norm``, on CUDA only, normalises by the clips of all processes.
    """

    def __init__(self, method: nn.Module, *, sync_batch_norm: bool, device: torch.device) -> None:
        self.count, self.is_first = world_size(), rank() == 0
        if self.count > 1 and sync_batch_norm and device.type == "cuda":
            method = nn.SyncBatchNorm.convert_sync_batchnorm(method)
        self.method = method
        self._trained = [p for p in method.parameters() if p.requires_grad]
        self._running = [
            average
            for module in method.modules()
            if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm)
            for average in (module.running_mean, module.running_var)
            if average is not None
        ]
        # Decisions are made on the host: over NCCL each would wait for the GPU.
        self._hosts = dist.new_group(backend="gloo") if self.count > 1 else None

    def stream(self, *names: int | str) -> tuple[int | str, ...]:
        """Return the name of this process's own stream of randomness; the first's is the plain."""
        return names if self.is_first else (*names, "process", rank())

    def synchronise(self) -> None:
        """Give every copy the parameters and buffers of process 0's."""
        spread([*self.method.parameters(), *self.method.buffers()])

    def average_gradients(self) -> None:
        """Average gradients over processes; where a parameter had no part in a batch, it has zero.

        (Alone too, to train the same; besides, fused sgd fails where a gradient first comes late.)
        """
        for parameter in self._trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        average(parameter.grad for parameter in self._trained if parameter.grad is not None)

    def average_batch_norm(self) -> None:
        """Average the running averages of batch norm that saw one process's clips only."""
        average(self._running)

    def largest(self, *numbers: int) -> list[int]:
        """Return the largest of each number over all processes, without waiting for the device."""
        if self._hosts is None:
            return [int(number) for number in numbers]
        agreed = torch.tensor(numbers)
        dist.all_reduce(agreed, dist.ReduceOp.MAX, group=self._hosts)
        return [int(number) for number in agreed]

    def close(self) -> None:
        """Leave the hosts' group; the process group itself is its maker's."""
        if self._hosts is not None:
            dist.destroy_process_group(self._hosts)
        self._hosts = None
