"""Standardisation with the training set's statistics."""

from __future__ import annotations

from math import isfinite

from torch import Tensor, nn

from ..core.errors import UserError


class Normalisation(nn.Module):
    """Subtract the mean and divide by the standard deviation of the training set's log-mels.

    One mean and one deviation for all mel bands, as in BYOL-A (arXiv 2103.06695, section III-B).

    Args:
        mean: Mean of the training log-mels, in nats.
        std: Their standard deviation, in nats; positive.

    Raises:
        ValueError: A statistic is not finite, or ``std`` is not positive.
    """

    def __init__(self, *, mean: float, std: float) -> None:
        super().__init__()
        if not (isfinite(mean) and isfinite(std) and std > 0):
            raise UserError(
                f"mean={mean!r}, std={std!r} are no statistics of a training set: both must be "
                "finite and std positive; digital silence alone has no spread, so check the audio"
            )
        self.mean, self.std = float(mean), float(std)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return ``(log_mel - mean) / std``, any shape, float32."""
        return (log_mel.float() - self.mean) / self.std

    def extra_repr(self) -> str:
        """Return the statistics for the log."""
        return f"mean={self.mean!r}, std={self.std!r}"
