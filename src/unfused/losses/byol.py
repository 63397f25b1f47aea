"""BYOL: predict the target network's projection of the other view."""

from __future__ import annotations

from torch import Tensor

from .self_distillation import cosine_distance


def byol_loss(
    prediction_a: Tensor, prediction_b: Tensor, target_a: Tensor, target_b: Tensor
) -> Tensor:
    """Distance of each view's prediction to the target of the other, both orders added up.

    ``mean_i (2 - 2 cos(p_a,i , t_b,i)) + mean_i (2 - 2 cos(p_b,i , t_a,i))``: the squared distances
    of unit vectors (BYOL, arXiv 2006.07733, eq. 2; BYOL-A, arXiv 2103.06695). In [0, 8], computed
    in at least float32. Targets get no gradient.

    Args:
        prediction_a: Online network's prediction from view a, (B, D).
        prediction_b: The same from view b, (B, D).
        target_a: Target network's projection of view a, (B, D).
        target_b: The same of view b, (B, D).

    Returns:
        Scalar.

    >>> import torch
    >>> byol_loss(torch.eye(2), torch.eye(2), torch.eye(2), torch.eye(2).flip(0))
    tensor(2.)
    """
    one_order = cosine_distance(prediction_a, target_b.detach())
    return one_order + cosine_distance(prediction_b, target_a.detach())
