"""BYOL: predict the target network's projection of the other view."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def byol_loss(
    prediction_a: Tensor, prediction_b: Tensor, target_a: Tensor, target_b: Tensor
) -> Tensor:
    """Return the distance of each view's prediction to the other's target, both orders added up.

    ``mean_i (2 - 2 cos(p_a,i , t_b,i)) + mean_i (2 - 2 cos(p_b,i , t_a,i))``: the squared distances
    of unit vectors (BYOL, arXiv 2006.07733, eq. 2; BYOL-A, arXiv 2103.06695). A scalar in [0, 8],
    computed in at least float32. The online network's predictions from views a and b and the target
    network's projections of them are (B, D) each; targets get no gradient.

    >>> import torch
    >>> byol_loss(torch.eye(2), torch.eye(2), torch.eye(2), torch.eye(2).flip(0))
    tensor(2.)
    """
    one_order = cosine_distance(prediction_a, target_b.detach())
    return one_order + cosine_distance(prediction_b, target_a.detach())


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean of 2 - 2 cos(a, b), (B, D) each: the squared distance of unit vectors."""
    wide = torch.promote_types(a.dtype, torch.float32)  # half precision is too coarse
    return (2.0 - 2.0 * F.cosine_similarity(a.to(wide), b.to(wide), dim=1)).mean()
