"""COLA: find each clip's other crop among all crops of the batch, by a learned similarity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import UserError


def bilinear_similarity(anchors: Tensor, positives: Tensor, weight: Tensor) -> Tensor:
    """Return ``anchors @ weight @ positives.T``, (N, N), in at least float32."""
    dtype = torch.promote_types(anchors.dtype, torch.float32)
    with torch.autocast(anchors.device.type, enabled=False):
        return anchors.to(dtype) @ weight.to(dtype) @ positives.to(dtype).T


def bilinear_contrast(anchors: Tensor, positives: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy of every anchor's similarities, its own clip being the right answer.

    ``-mean_i log(exp(s(x_i, y_i)) / sum_j exp(s(x_i, y_j)))`` with ``s(x, y) = x^T W y`` (COLA,
    arXiv 2010.10915, section 2): the other clips' crops are the negatives. Projections x and y are
    of two crops of each clip, (N, D) in the same order; the weight is the learned W, (D, D).
    Returned are the scalar loss and the share of anchors most similar to their own positive.

    Raises:
        ValueError: There are not as many positives as anchors, or only one: no negatives.

    >>> bilinear_contrast(torch.eye(2), torch.eye(2), 3 * torch.eye(2))
    (tensor(0.0486), tensor(1.))
    """
    n = len(anchors)
    if len(positives) != n or n < 2:
        raise UserError(
            f"{n} anchors and {len(positives)} positives: give one positive for each of at least "
            "2 anchors"
        )
    logits = bilinear_similarity(anchors, positives, weight)
    own = torch.arange(n, device=logits.device)
    found = (logits.detach().argmax(dim=1) == own).float().mean()
    return F.cross_entropy(logits, own), found
