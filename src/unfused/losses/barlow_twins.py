"""Barlow Twins: the same dimension agrees between two views, different dimensions do not.

The loss of DeLoRes-S (arXiv 2203.13628), and of the layers between in DeLoRes-M.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..core.errors import UserError

_EPS = 1e-5  # batch norm's


class CrossCorrelation(NamedTuple):
    """What the loss reads off the cross-correlation matrix C of two views."""

    diagonal: Tensor  # C_ii, (D,)
    off_diagonal: Tensor  # sum_{i != j} C_ij^2, scalar


def barlow_twins(
    z_a: Tensor, z_b: Tensor, redundancy_weight: float = 0.0051, scale: float = 1.0
) -> Tensor:
    """Return the distance of two views' cross-correlation matrix to the identity, a scalar.

    ``scale * (sum_i (1 - C_ii)^2 + redundancy_weight * sum_{i != j} C_ij^2)``, ``C = A^T B / N`` of
    the views A and B after batch norm without weights (Barlow Twins, arXiv 2103.03230, eq. 1), in
    at least float32. Embeddings of both views are (N, D), those of all processes
    (:func:`unfused.core.distributed.gather_rows`). The weight is the papers' lambda, 0.0051 in
    Barlow Twins and DeLoRes-S.

    Raises:
        ValueError: See :func:`cross_correlation`.

    >>> view = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> barlow_twins(view, -view).round(decimals=2)
    tensor(8.)
    """
    return redundancy_reduction(cross_correlation(z_a, z_b), redundancy_weight, scale)


def redundancy_reduction(
    correlation: CrossCorrelation, redundancy_weight: float, scale: float = 1.0
) -> Tensor:
    """Return the loss of :func:`barlow_twins`, for a method that also logs the correlation."""
    on_diagonal = (1.0 - correlation.diagonal).square().sum()
    return scale * (on_diagonal + redundancy_weight * correlation.off_diagonal)


def cross_correlation(z_a: Tensor, z_b: Tensor) -> CrossCorrelation:
    """Return what :func:`redundancy_reduction` needs of the matrix C of two views, (N, D) each.

    With at least twice as many dimensions as samples C is never built. Its diagonal needs no other
    entry, and the sum of its squares is, exactly, that of the samples' Gram matrices,
    ``||A^T B||^2 = <A A^T, B B^T>``: with both passes 6 N^2 D multiplications in place of 3 N D^2.

    Raises:
        ValueError: The shapes differ or are not (N, D), or there is only one sample.
    """
    if z_a.shape != z_b.shape or z_a.dim() != 2 or len(z_a) < 2:
        raise UserError(
            f"embeddings of shapes {tuple(z_a.shape)} and {tuple(z_b.shape)}: both views need the "
            "same shape (N, D) with at least 2 samples, because a correlation is over samples"
        )
    with torch.autocast(z_a.device.type, enabled=False):
        return products(_standardised(z_a), _standardised(z_b))


def products(a: Tensor, b: Tensor) -> CrossCorrelation:
    """Return what is read off the matrix ``a.T @ b`` of rows, (N, D) each."""
    n, dim = a.shape
    if 2 * n <= dim:
        diagonal = (a * b).sum(dim=0)
        squares = ((a @ a.T) * (b @ b.T)).sum()  # over (N, N)
        return CrossCorrelation(diagonal, squares - diagonal.square().sum())
    matrix = a.T @ b  # (D, D)
    same = torch.eye(dim, dtype=torch.bool, device=a.device)
    return CrossCorrelation(matrix.diagonal(), matrix.masked_fill(same, 0.0).square().sum())


@torch.no_grad()
def correlation_health(correlation: CrossCorrelation) -> dict[str, Tensor]:
    """Return how well the views agree and how much dimensions repeat, for any D.

    ``correlation`` is the mean of the diagonal (1 at best, 0 after a collapse), ``redundancy`` the
    mean square of the other entries (0 at best; 1 / N where dimensions are independent).
    """
    dim = len(correlation.diagonal)
    return {
        "correlation": correlation.diagonal.mean(),
        "redundancy": correlation.off_diagonal / max(dim * (dim - 1), 1),
    }


def _standardised(z: Tensor) -> Tensor:
    """Batch norm without weights, over sqrt(N), so that products of columns are correlations."""
    wide = z.to(torch.promote_types(z.dtype, torch.float32))
    centred = wide - wide.mean(dim=0)
    variance = centred.square().mean(dim=0)
    return centred * (len(z) * (variance + _EPS)).rsqrt()
