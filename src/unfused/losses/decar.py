"""DECAR-v2: predict the cluster that the other view of the clip belongs to."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import must_be


def prototype_cross_entropy(
    z: Tensor, prototypes: Tensor, assignments: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Cross entropy between prototype logits and cluster assignments, and these logits.

    The training loss of DECAR-v2 (UnFuSeD, arXiv 2303.05668, the upstream's L_ce), a relative of
    DeepCluster-v2: ``-mean_b log softmax(z_b . C / temperature)[assignment_b]``.

    Embeddings z are of one view, (B, D), normalised first for cosine similarities; prototypes are
    the cluster centroids C, (K, D), and get no gradient; assignments were found with the other
    view, (B,) int64. The temperature is 1 in the official code, 0.1 in DeepCluster-v2. The loss is
    a scalar, the logits, (B, K), have no gradient; both are in at least float32.

    Raises:
        ValueError: ``temperature`` is not positive.

    >>> prototype_cross_entropy(torch.zeros(1, 2), torch.eye(2), torch.tensor([0]))
    (tensor(0.6931), tensor([[0., 0.]]))
    """
    must_be("positive", temperature=temperature)
    dtype = torch.promote_types(z.dtype, torch.float32)
    with torch.autocast(z.device.type, enabled=False):
        logits = z.to(dtype) @ prototypes.detach().to(dtype).T / temperature
        return F.cross_entropy(logits, assignments), logits.detach()
