"""A first-in-first-out bank of past crops, from which mixing takes its partners."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core.errors import UserError


class CropBank(nn.Module):
    """The newest unmixed crops, kept in buffers so that ``state_dict()`` is whole.

    Args:
        ratio: Upper end of the partner's share.
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
            raise UserError(f"mixup_ratio={ratio!r} must lie in [0, 1]; 0 switches mixup off")
        if bank_size < 1:
            raise UserError(
                f"mixup_bank={bank_size!r} must be at least 1; to switch mixup off set "
                "mixup_ratio to 0"
            )
        self.ratio = ratio
        self.register_buffer("bank", torch.zeros(bank_size, n_mels, crop_frames))
        # Counters on the device: reading them never makes the host wait.
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, log_mel: Tensor) -> Tensor:
        """Put a batch of crops into the bank in place of the oldest.

        Args:
            log_mel: (B, 1, F, T).

        Returns:
            Where the newest of them lie now, (min(B, bank size),) int64.
        """
        size = len(self.bank)
        newest = log_mel.squeeze(1)[-size:]
        slots = (self.position + torch.arange(len(newest), device=self.bank.device)) % size
        self.bank.index_copy_(0, slots, newest.to(self.bank.dtype))
        self.position.copy_((self.position + len(newest)) % size)
        self.filled.copy_((self.filled + len(newest)).clamp(max=size))
        return slots

    def extra_repr(self) -> str:
        """Return the parameters for the log."""
        return f"ratio={self.ratio}, bank_size={len(self.bank)}"
