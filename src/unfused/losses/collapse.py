"""Numbers that show when embeddings collapse, cheap enough for every training step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def embedding_health(z: Tensor) -> dict[str, Tensor]:
    """Return how spread a batch of embeddings is, (B, D), without gradient or waiting for a GPU.

    ``std`` is the standard deviation of the L2-normalised embeddings times sqrt(D), averaged over
    dimensions (0 if all are the same, about 1 if they point everywhere; SimSiam, arXiv 2011.10566,
    section 4.1); beside it stands :func:`effective_rank`.
    """
    z = z.detach().float()
    unit = F.normalize(z, dim=1)
    std = unit.std(dim=0, correction=0).mean() * z.shape[1] ** 0.5
    return {"std": std, "effective_rank": effective_rank(z)}


def effective_rank(z: Tensor) -> Tensor:
    """Return the participation ratio (sum of the covariance's eigenvalues)^2 / sum of squares.

    It is k if the variance is spread evenly over k directions, and 0 if there is none. Unlike the
    entropy of the singular values (RankMe, arXiv 2210.02885) it needs no decomposition: both sums
    are read off the Gram matrix of the smaller side of the embeddings, (B, D).

    >>> effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    tensor(2.)
    """
    with torch.autocast(z.device.type, enabled=False):
        centred = z.detach().float()
        centred = centred - centred.mean(dim=0)
        centred = centred / centred.abs().amax().clamp_min(1e-12)  # squares of squares: no overflow
        n, dim = centred.shape
        gram = centred @ centred.T if n < dim else centred.T @ centred
    return gram.diagonal().sum() ** 2 / gram.square().sum().clamp_min(1e-24)


def perplexity(weights: Tensor) -> Tensor:
    """Return exp(entropy) of weights, (K,), >= 0, of any sum: how many outcomes are used evenly.

    >>> perplexity(torch.tensor([3.0, 3.0, 0.0]))
    tensor(2.)
    """
    shares = weights / weights.sum()
    return torch.special.entr(shares).sum().exp()
