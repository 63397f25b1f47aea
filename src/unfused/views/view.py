"""What augmentations take and return."""

from typing import NamedTuple

import torch
from torch import Tensor


class View(NamedTuple):
    """A batch of log-mel crops.

    Attributes:
        log_mel: Log-mel spectrograms, (B, 1, F, T).
        spans: First frame and end frame (exclusive) of the real audio in each crop, (B, 2) float32;
            frames outside are padding with log(eps). Fractional after a resize.
    """

    log_mel: Tensor
    spans: Tensor


def union(spans: Tensor, others: Tensor) -> Tensor:
    """Return the shortest spans that cover both, (B, 2)."""
    first = torch.minimum(spans[:, 0], others[:, 0])
    return torch.stack([first, torch.maximum(spans[:, 1], others[:, 1])], dim=1)
