"""InfoNCE with a queue of negatives, as MoCo, SLICER and DeLoRes-M use it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Contrastive loss of each query with its own key against the negatives.

    ``-mean_i log(exp(q_i . k_i / t) / (exp(q_i . k_i / t) + sum_j exp(q_i . n_j / t)))`` with
    L2-normalised vectors (MoCo, arXiv 1911.05722, eq. 1). Computed in at least float32.

    Args:
        queries: (B, D); normalised here.
        keys: Positive of each query, (B, D); normalised here.
        negatives: Normalised negatives, (K, D), the same for all queries.
        temperature: t.

    Returns:
        Scalar.

    Raises:
        ValueError: ``temperature`` is not positive.

    >>> info_nce(torch.eye(2), torch.eye(2), torch.eye(2)[:1] * 0, 1.0)
    tensor(0.3133)
    """
    if not temperature > 0.0:
        raise ValueError(f"temperature={temperature} must be positive")
    dtype = torch.promote_types(queries.dtype, torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        queries = F.normalize(queries.to(dtype), dim=1)
        keys = F.normalize(keys.to(dtype), dim=1)
        positive = (queries * keys).sum(dim=1, keepdim=True)  # (B, 1)
        negative = queries @ negatives.to(dtype).T  # (B, K)
        logits = torch.cat([positive, negative], dim=1) / temperature
    return (logits.logsumexp(dim=1) - logits[:, 0]).mean()
