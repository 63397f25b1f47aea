"""Decorrelation: different dimensions of an embedding carry different information.

SELFIE (arXiv 2303.03717) has such a loss on the online predictions of a batch. Its formula is not
public to us: the candidates here are a RECONSTRUCTION from the paper's overview figure.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ..core.errors import UserError, must_be_one_of

Decorrelation = Literal["covariance", "correlation"]
_EPS = 1e-5  # batch norm's


def decorrelation(z: Tensor, kind: Decorrelation = "covariance") -> Tensor:
    """Return how much the dimensions of embeddings, (B, D), repeat each other: lower is better.

    ``sum_{k != l} C_kl^2 / D``, where C is over the batch

    - ``covariance``: the covariance matrix, divided by B - 1 (VICReg, arXiv 2105.04906, eq. 4);
    - ``correlation``: the correlation matrix (the second term of Barlow Twins, arXiv 2103.03230,
      eq. 1, of one view with itself). It does not see the embeddings' scale.

    Computed in at least float32. With fewer samples than dimensions C is never built: the sum of
    its squares is that of the B x B Gram matrix.

    Raises:
        ValueError: There is only one sample, or ``kind`` is unknown.

    >>> decorrelation(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    tensor(4.)
    """
    check_decorrelation(kind)
    if len(z) < 2:
        raise UserError(f"{len(z)} embedding(s): a covariance needs at least 2")
    with torch.autocast(z.device.type, enabled=False):
        wide = z.to(torch.promote_types(z.dtype, torch.float32))
        centred = wide - wide.mean(dim=0)
        if kind == "covariance":
            return _off_diagonal(centred, len(z) - 1)
        variance = centred.square().mean(dim=0)
        return _off_diagonal(centred * (variance + _EPS).rsqrt(), len(z))


def check_decorrelation(kind: str) -> None:
    """Refuse what :func:`decorrelation` does not know."""
    must_be_one_of(get_args(Decorrelation), decorrelation=kind)


def _off_diagonal(rows: Tensor, divisor: int) -> Tensor:
    """Return the squares of ``rows.T @ rows / divisor`` off its diagonal, added up, over D."""
    n, dim = rows.shape
    scaled = rows / divisor**0.5
    if n < dim:
        diagonal = scaled.square().sum(dim=0)
        squares = (scaled @ scaled.T).square().sum() - diagonal.square().sum()
    else:
        same = torch.eye(dim, dtype=torch.bool, device=rows.device)
        squares = (scaled.T @ scaled).masked_fill(same, 0.0).square().sum()
    return squares / dim
