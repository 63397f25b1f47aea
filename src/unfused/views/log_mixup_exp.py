"""Mixup of log-mels in the linear domain, with partners from a first-in-first-out bank."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .crop_bank import CropBank


class Mixing(NamedTuple):
    """Drawn parameters of a batch of mixups.

    Attributes:
        weight: Share lambda of the partner, (B,), in [0, ratio).
        partner: Bank entry that each crop is mixed with, (B,) int64.
    """

    weight: Tensor
    partner: Tensor


def log_mixup_exp(log_mel: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
    """Return ``log((1 - weight) exp(log_mel) + weight exp(partner))`` without overflow.

    Niizumi et al. 2021 (arXiv 2103.06695), eq. 5.

    Args:
        log_mel: (B, ...).
        partner: Same shape.
        weight: Share of the partner, (B,); 0 returns ``log_mel`` itself.

    Returns:
        The mixed log-mels, same shape.
    """
    weight = weight.view(-1, *[1] * (log_mel.ndim - 1))
    return torch.logaddexp(log_mel + torch.log1p(-weight), partner + torch.log(weight))


class LogMixupExp(CropBank):
    """Background sounds from past crops: BYOL-A's log-mixup-exp (arXiv 2103.06695, section III-B).

    While the bank is empty crops are returned unmixed. BYOL-A adds every view's input to its bank;
    here :meth:`remember` is called once per batch, whatever the number of views.

    Args:
        ratio: Upper end of the partner's share; the share is uniform in [0, ratio).
        bank_size: How many past crops are kept.
        n_mels: Mel bands F of a crop.
        crop_frames: Frames T of a crop.

    Raises:
        ValueError: ``ratio`` is outside [0, 1] or ``bank_size`` below 1.
    """

    def draw(self, n: int, generator: torch.Generator) -> Mixing:
        """Draw the parameters of ``n`` mixups."""
        uniform = torch.rand(2, n, generator=generator, device=self.bank.device)
        weight = uniform[0] * self.ratio * (self.filled > 0)
        # Rounding can carry a draw just below 1 up to `filled` itself.
        partner = torch.minimum((uniform[1] * self.filled).long(), (self.filled - 1).clamp(min=0))
        return Mixing(weight, partner)

    def mix(self, log_mel: Tensor, mixing: Mixing) -> Tensor:
        """Return the crops mixed with the drawn bank entries, (B, 1, F, T)."""
        return log_mixup_exp(log_mel, self.bank[mixing.partner].unsqueeze(1), mixing.weight)

    def forward(self, log_mel: Tensor, generator: torch.Generator) -> Tensor:
        """Draw and mix; ``log_mel`` and result are normalised log-mels, (B, 1, F, T)."""
        return self.mix(log_mel, self.draw(len(log_mel), generator))

    def remember(self, log_mel: Tensor) -> None:
        """Put a batch of unmixed crops, (B, 1, F, T), into the bank in place of the oldest."""
        self.enqueue(log_mel)
