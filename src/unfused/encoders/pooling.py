"""From the frame features of padded clips to one vector per clip."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ..core.errors import UserError

Pooling = Literal["mean", "max", "max+mean"]


def pool_frames(frames: Tensor, mask: Tensor | None, pooling: Pooling) -> Tensor:
    """Pool over time; padding neither counts in the mean nor wins the maximum.

    Args:
        frames: Frame features, (B, T', D).
        mask: Frames that belong to the clip, (B, T') bool, at least one in each row; None: all.
        pooling: ``"mean"``, ``"max"`` or ``"max+mean"`` (their sum, as in BYOL-A and DeLoRes).

    Returns:
        (B, D).

    Raises:
        ValueError: ``pooling`` is none of the three.
    """
    if pooling == "mean":
        return masked_mean(frames, mask)
    if pooling == "max":
        return masked_max(frames, mask)
    if pooling == "max+mean":
        return masked_max(frames, mask) + masked_mean(frames, mask)
    raise UserError(f"pooling={pooling!r} is unknown; choose from {list(get_args(Pooling))}")


def masked_mean(frames: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean over the frames where ``mask`` holds, (B, D)."""
    if mask is None:
        return frames.mean(dim=1)
    kept = frames.masked_fill(~mask.unsqueeze(-1), 0.0)  # (B, T', D)
    return kept.sum(dim=1) / mask.sum(dim=1, keepdim=True).to(frames.dtype)


def masked_max(frames: Tensor, mask: Tensor | None) -> Tensor:
    """Return the maximum over the frames where ``mask`` holds, (B, D)."""
    if mask is not None:
        frames = frames.masked_fill(~mask.unsqueeze(-1), -torch.inf)
    return frames.amax(dim=1)
