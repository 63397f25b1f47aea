"""SLICER's cluster-level contrast: a cluster of one view finds itself in the other view."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import UserError, must_be


def cluster_contrast(
    p_a: Tensor, p_b: Tensor, temperature: float = 1.0, entropy_weight: float = 0.0
) -> Tensor:
    """Contrast the columns of two views' cluster probabilities (SLICER, arXiv 2211.01519).

    A column says how much each clip of the batch belongs to one cluster. Column c of one view has
    column c of the other as positive; the other 2C - 2 columns of both views are its negatives:

    ``-mean_i log(exp(cos(y_i, y_i+) / t) / sum_{j != i} exp(cos(y_i, y_j) / t))``, i over all 2C

    That is the cluster-level loss of Contrastive Clustering (Li et al., arXiv 2009.09687), which
    SLICER's official code uses; the paper's own formula leaves open which columns the sum runs
    over. Contrastive Clustering also asks for evenly used clusters; SLICER's code computes that
    term and does not add it. ``entropy_weight`` (SLICER: 0; Contrastive Clustering: 1) adds it:
    ``log C - entropy of the mean row`` of both views, 0 when the batch fills the clusters evenly.
    The cluster probabilities of the views are (B, C), and rows sum to 1; the temperature is t.

    Raises:
        ValueError: The shapes differ, there is only one cluster, or t is not positive.

    >>> cluster_contrast(torch.eye(2), torch.eye(2))
    tensor(0.5514)
    """
    if p_a.shape != p_b.shape or p_a.dim() != 2 or p_a.shape[1] < 2:
        raise UserError(
            f"cluster probabilities of shapes {tuple(p_a.shape)} and {tuple(p_b.shape)}: both "
            "views need the same shape (B, C) with at least 2 clusters"
        )
    must_be("positive", temperature=temperature)
    dtype = torch.promote_types(p_a.dtype, torch.float32)
    with torch.autocast(p_a.device.type, enabled=False):
        columns = F.normalize(torch.cat([p_a, p_b], dim=1).to(dtype), dim=0)  # (B, 2C)
        logits = columns.T @ columns / temperature  # (2C, 2C)
        positive = logits.diagonal(p_a.shape[1]).repeat(2)  # (2C,), the logits are symmetric
        own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        loss = (logits.masked_fill(own, -torch.inf).logsumexp(dim=1) - positive).mean()
        if entropy_weight:
            loss = loss + entropy_weight * (_unevenness(p_a.to(dtype)) + _unevenness(p_b.to(dtype)))
    return loss


def _unevenness(p: Tensor) -> Tensor:
    """Return log C minus the entropy of the mean row: 0 for evenly used clusters."""
    shares = p.mean(dim=0).clamp_min(torch.finfo(p.dtype).tiny)  # entr has no gradient at 0
    return log(p.shape[1]) - torch.special.entr(shares).sum()
