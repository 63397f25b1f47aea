"""InfoNCE with a queue of negatives, as MoCo, SLICER and DeLoRes-M use it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import must_be


def info_nce(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Contrastive loss of each query with its own key against the negatives.

    ``-mean_i log(exp(q_i . k_i / t) / (exp(q_i . k_i / t) + sum_j exp(q_i . n_j / t)))`` with
    L2-normalised vectors (MoCo, arXiv 1911.05722, eq. 1). Computed in at least float32. Queries and
    keys, the positives, are (B, D) and normalised here; the negatives, (K, D), are so already.

    Raises:
        ValueError: ``temperature`` is not positive.

    >>> info_nce(torch.eye(2), torch.eye(2), torch.eye(2)[:1] * 0, 1.0)
    tensor(0.3133)
    """
    return contrast(*info_nce_logits(queries, keys, negatives, temperature))


def info_nce_logits(
    queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the cosines over t of :func:`info_nce`: the positives', (B,), and negatives', (B, K).

    For a method that wants to look at them too (:func:`instance_accuracy`) without a second matrix
    product. Arguments and errors are those of :func:`info_nce`.
    """
    must_be("positive", temperature=temperature)
    dtype = torch.promote_types(queries.dtype, torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        queries = F.normalize(queries.to(dtype), dim=1) / temperature
        keys = F.normalize(keys.to(dtype), dim=1)
        return (queries * keys).sum(dim=1), queries @ negatives.to(dtype).T


def contrast(positive: Tensor, negative: Tensor) -> Tensor:
    """Return the mean cross entropy of the positives' logits, (B,), among all, (B, 1 + K).

    Positives and negatives stay apart: joining them would copy the large matrix.
    """
    return (torch.logaddexp(positive, negative.logsumexp(dim=1)) - positive).mean()


@torch.no_grad()
def instance_accuracy(positive: Tensor, negative: Tensor) -> Tensor:
    """Return the share of queries whose positive has the largest of :func:`info_nce_logits`.

    A tie up to rounding, as after a collapse, is no hit.
    """
    return (positive > negative.amax(dim=1) + 1e-4).float().mean()
