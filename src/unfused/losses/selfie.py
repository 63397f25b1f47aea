"""SELFIE: samples get different embeddings, whose dimensions carry different information.

SELFIE (arXiv 2303.03717) has such losses on the online predictions of a batch. Their formulas are
not public to us: the candidates here are a RECONSTRUCTION from the paper's overview figure.
"""

from __future__ import annotations

from math import log
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import UserError, must_be, must_be_one_of
from .barlow_twins import cross_correlation, products

Diversity = Literal["uniformity", "squared_cosine", "hinge"]
Decorrelation = Literal["covariance", "correlation"]


def diversity(
    z: Tensor, kind: Diversity = "uniformity", *, sharpness: float = 2.0, margin: float = 0.0
) -> Tensor:
    """Return how alike the embeddings of different samples are, (B, D): lower is more diverse.

    With unit vectors u, normalised here, and pairs i != j:

    - ``uniformity``: ``log mean exp(-sharpness |u_i - u_j|^2)`` (Wang and Isola, arXiv 2005.10242,
      section 4.1). 0 after a collapse; least where points spread evenly over the sphere.
    - ``squared_cosine``: ``mean (u_i . u_j)^2``. 1 after a collapse; 0 where all are orthogonal.
    - ``hinge``: ``mean max(0, u_i . u_j - margin)``. 1 - margin after a collapse; pairs that are
      less alike than the margin are left alone.

    The sharpness is positive, the margin in [-1, 1). Computed in at least float32; the squared
    cosine from the smaller of the two Gram matrices.

    Raises:
        ValueError: There is only one sample, ``kind`` is unknown or a number out of range.

    >>> diversity(torch.eye(3), "squared_cosine")
    tensor(0.)
    >>> diversity(torch.ones(3, 2), "hinge", margin=0.5)
    tensor(0.5000)
    """
    check_diversity(kind, sharpness, margin)
    if len(z) < 2:
        raise UserError(f"{len(z)} embedding(s): diversity compares samples, so give at least 2")
    with torch.autocast(z.device.type, enabled=False):
        unit = F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
        if kind == "squared_cosine":
            return _mean_squared_cosine(unit)
        cosine = unit @ unit.T  # (B, B)
        same = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        pairs = len(unit) * (len(unit) - 1)
        if kind == "hinge":
            return F.relu(cosine - margin).masked_fill(same, 0.0).sum() / pairs
        exponent = (2.0 * sharpness * (cosine - 1.0)).masked_fill(same, -torch.inf)
        return exponent.flatten().logsumexp(dim=0) - log(pairs)


def check_diversity(kind: str, sharpness: float, margin: float) -> None:
    """Refuse what :func:`diversity` does not know."""
    must_be_one_of(get_args(Diversity), diversity=kind)
    must_be("positive", sharpness=sharpness)
    if not -1.0 <= margin < 1.0:
        raise UserError(f"margin={margin} must be a cosine, in [-1, 1)")


def _mean_squared_cosine(unit: Tensor) -> Tensor:
    n, dim = unit.shape
    gram = unit @ unit.T if n < dim else unit.T @ unit  # the same sum of squares
    own = unit.square().sum(dim=1).square().sum()
    return (gram.square().sum() - own) / (n * (n - 1))


def decorrelation(z: Tensor, kind: Decorrelation = "covariance") -> Tensor:
    """Return how much the dimensions of embeddings, (B, D), repeat each other: lower is better.

    ``sum_{k != l} C_kl^2 / D``, where C is over the batch

    - ``covariance``: the covariance matrix, divided by B - 1 (VICReg, arXiv 2105.04906, eq. 4);
    - ``correlation``: the correlation matrix (the second term of Barlow Twins, arXiv 2103.03230,
      eq. 1, of one view with itself). It does not see the embeddings' scale.

    Computed in at least float32. With at most half as many samples as dimensions C is never built:
    the sum of its squares is that of the B x B Gram matrix.

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
