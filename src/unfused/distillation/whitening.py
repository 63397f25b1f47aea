"""PCA whitening in one pass over blocks of rows."""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.errors import UserError

_BLOCK = 8192  # rows


class Whitening:
    """Rotate features to their principal axes and scale each to unit variance.

    The covariance is summed in float64 over blocks of rows, so that features need not fit into
    memory twice. Axes are signed so that their largest component is positive.

    Args:
        dim: Number of axes to keep, those of the largest variance; None: all.
        eps: Axes whose variance is below ``eps`` times the largest are dropped: scaling them up
            would turn rounding errors into features.

    Attributes:
        mean_: (D,).
        components_: Axes, (dim, D).
        scales_: Standard deviation along each axis, (dim,).
    """

    mean_: Tensor
    components_: Tensor
    scales_: Tensor

    def __init__(self, dim: int | None = 128, eps: float = 1e-7) -> None:
        self.dim = dim
        self.eps = eps

    def fit(self, features: Tensor) -> Whitening:
        """Find the axes.

        Args:
            features: (N, D), finite.

        Returns:
            Itself, fitted.

        Raises:
            ValueError: There are fewer than 2 rows, ``dim`` is not in 1..D, or all rows are equal.
        """
        n, width = features.shape
        if n < 2:
            raise UserError(f"whitening needs at least 2 rows of features, got {n}")
        if self.dim is not None and not 1 <= self.dim <= width:
            raise UserError(
                f"dim={self.dim} must be at least 1 and at most the features' {width} dimensions; "
                "None keeps all"
            )
        self.mean_ = features.mean(dim=0, dtype=_widest(features)).float()
        variances, axes = torch.linalg.eigh(self._covariance(features))  # ascending
        variances, axes = variances.flip(0)[: self.dim], axes.flip(1)[:, : self.dim].T
        kept = (variances > self.eps * variances[0]) & (variances > 0.0)
        if not kept.any():
            raise UserError("all rows of features are equal: the encoder has collapsed")
        largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
        self.components_ = (axes * largest.sign())[kept].float().to(features.device)
        self.scales_ = variances[kept].sqrt().float().to(features.device)
        return self

    def transform(self, features: Tensor) -> Tensor:
        """Return whitened features, (N, D) -> (N, dim) float32."""
        projection = self.components_.T / self.scales_
        blocks = [(block.float() - self.mean_) @ projection for block in features.split(_BLOCK)]
        return torch.cat(blocks)

    def _covariance(self, features: Tensor) -> Tensor:
        """Return the sample covariance, (D, D) float64 on the CPU."""
        width = features.shape[1]
        total = torch.zeros(width, width, dtype=torch.float64)
        for block in features.split(_BLOCK):
            centred = block.float() - self.mean_
            total += (centred.T @ centred).cpu()
        return total / (len(features) - 1)


def _widest(features: Tensor) -> torch.dtype:
    return torch.float32 if features.device.type == "mps" else torch.float64
