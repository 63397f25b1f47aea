"""Mixup of log-mels in the linear domain, with partners from a first-in-first-out bank."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


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


class LogMixupExp(nn.Module):
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

    bank: Tensor
    filled: Tensor
    position: Tensor

    def __init__(self, *, ratio: float, bank_size: int, n_mels: int, crop_frames: int) -> None:
        super().__init__()
        if not 0 <= ratio <= 1:
            raise ValueError(f"mixup_ratio={ratio!r} must lie in [0, 1]; 0 switches mixup off")
        if bank_size < 1:
            raise ValueError(
                f"mixup_bank={bank_size!r} must be at least 1; to switch mixup off set "
                "mixup_ratio to 0"
            )
        self.ratio = ratio
        self.register_buffer("bank", torch.zeros(bank_size, n_mels, crop_frames))
        # Counters on the device: reading them never makes the host wait.
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

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

    @torch.no_grad()
    def remember(self, log_mel: Tensor) -> None:
        """Put a batch of unmixed crops, (B, 1, F, T), into the bank in place of the oldest."""
        size = len(self.bank)
        newest = log_mel.squeeze(1)[-size:]
        slots = (self.position + torch.arange(len(newest), device=self.bank.device)) % size
        self.bank.index_copy_(0, slots, newest.to(self.bank.dtype))
        self.position.copy_((self.position + len(newest)) % size)
        self.filled.copy_((self.filled + len(newest)).clamp(max=size))

    def extra_repr(self) -> str:
        """Return the parameters for the log."""
        return f"ratio={self.ratio}, bank_size={len(self.bank)}"
