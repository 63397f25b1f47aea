"""The queue of past keys that serve as negatives (MoCo, arXiv 1911.05722)."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.distributed import gather_rows
from ..core.errors import UserError

log = logging.getLogger(__name__)
MAX_QUEUE = 65536  # MoCo's, and that of the official code of SLICER and DeLoRes-M


class NegativesQueue(nn.Module):
    """First-in-first-out queue of ``size`` L2-normalised keys of ``dim`` dimensions, in buffers.

    It starts full of random directions, as MoCo's does. Reading and writing never make the host
    wait. With several processes all of them hold the same queue.
    """

    keys: Tensor
    position: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise UserError(f"a queue of {size} keys of {dim} dimensions: both must be at least 1")
        self.register_buffer("keys", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Put keys, (B, D), normalised here, in the place of the oldest ones.

        The keys of process 0 come first, then those of process 1 ...; of more keys than the queue
        holds, the last stay.

        Call it in :meth:`Method.after_step`, after every loss of the step is computed, so that no
        sample is its own negative.
        """
        size = len(self.keys)
        newest = F.normalize(gather_rows(keys.detach())[-size:].to(self.keys.dtype), dim=1)
        slots = (self.position + torch.arange(len(newest), device=newest.device)) % size
        self.keys.index_copy_(0, slots, newest)
        self.position.copy_((self.position + len(newest)) % size)

    def similarity(self, keys: Tensor) -> Tensor:
        """Return the mean cosine of keys, (B, D), with the queue's: near 1 after a collapse."""
        mean = F.normalize(keys.detach().float(), dim=1).mean(dim=0)
        return mean @ self.keys.float().mean(dim=0)

    def extra_repr(self) -> str:
        """Return the size for the log."""
        return "{} keys of {} dimensions".format(*self.keys.shape)


def queue_size(asked: int | None, usual: int, keys_a_pass: int) -> int:
    """Return how many keys a queue shall hold, with a warning if clips meet their own old keys.

    Args:
        asked: What the user wants; None: ``usual``, between 1 and 65536.
        usual: What suits a corpus of this size.
        keys_a_pass: Keys that are enqueued in a pass over the clips.
    """
    if asked is None:
        return min(MAX_QUEUE, max(1, usual))
    if asked > keys_a_pass:
        log.warning(
            "queue_size=%d is %.1f passes over the training clips: clips find their own old keys "
            "among their negatives; set queue_size to %d or less, or leave it out",
            *(asked, asked / keys_a_pass, max(1, keys_a_pass // 2)),
        )
    return asked
