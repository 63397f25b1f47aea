"""Decorrelation: different dimensions of an embedding carry different information.

SELFIE (arXiv 2303.03717) has such a loss on the online predictions of a batch. Its formula is not
public to us: the candidates here are a RECONSTRUCTION from the paper's overview figure.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ..core.errors import UserError, must_be_one_of
from .barlow_twins import cross_correlation, products

Decorrelation = Literal["covariance", "correlation"]


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
    must_be_one_of(get_args(Decorrelation), decorrelation=kind)
    if len(z) < 2:
        raise UserError(f"{len(z)} embedding(s): a covariance needs at least 2")
    with torch.autocast(z.device.type, enabled=False):
        if kind == "correlation":
            return cross_correlation(z, z).off_diagonal / z.shape[1]
        wide = z.to(torch.promote_types(z.dtype, torch.float32))
        rows = (wide - wide.mean(dim=0)) / (len(z) - 1) ** 0.5
        return products(rows, rows).off_diagonal / z.shape[1]
