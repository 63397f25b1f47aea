"""Where k-means starts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SAMPLE = 8192
"""Points that k-means++ looks at, at least; also at least 8 for each cluster."""


def random_rows(points: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Return ``n`` different rows of ``points``, (n, D), in random order.

    Args:
        points: (N, D).
        n: How many, at most N.
        generator: Source of randomness, on the CPU.
    """
    rows = torch.randperm(len(points), generator=generator)[:n]
    return points[rows.to(points.device)]


def plus_plus(points: Tensor, n_clusters: int, generator: torch.Generator) -> Tensor:
    """Return centroids far from each other: greedy k-means++ on a sample.

    Each new centroid is drawn with probability proportional to the squared distance to the nearest
    one so far (Arthur & Vassilvitskii 2007); of 2 + log(K) draws the one that lowers the inertia
    most is kept, as in scikit-learn.

    Args:
        points: (N, D).
        n_clusters: Number of centroids K.
        generator: Source of randomness, on the CPU.

    Returns:
        (K, D).
    """
    sample = random_rows(points, min(len(points), max(SAMPLE, 8 * n_clusters)), generator)
    squares = sample.square().sum(dim=1)
    chosen = sample.new_zeros(n_clusters, dtype=torch.long)  # sample is shuffled: row 0 is random
    nearest = _squared_distances(sample, squares, chosen[:1])[0]
    n_draws = 2 + int(math.log(n_clusters))
    for k in range(1, n_clusters):
        draws = draw(nearest, n_draws, generator)
        candidates = torch.minimum(nearest, _squared_distances(sample, squares, draws))
        best = candidates.sum(dim=1).argmin()
        chosen[k], nearest = draws[best], candidates[best]
    return sample[chosen]


def _squared_distances(sample: Tensor, squares: Tensor, rows: Tensor) -> Tensor:
    """Return squared distances from some rows to all, (rows, N)."""
    products = sample[rows] @ sample.T
    return (squares[rows, None] + squares - 2.0 * products).clamp_min_(0.0)


def draw(weights: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw indices with probability proportional to their weight.

    Args:
        weights: Not negative, (N,).
        n: How many.
        generator: Source of randomness, on the CPU.

    Returns:
        (n,) int64.
    """
    cumulative = weights.cumsum(dim=0, dtype=torch.float64 if weights.is_cpu else None)
    uniform = torch.rand(n, generator=generator).to(cumulative)
    return torch.searchsorted(cumulative, uniform * cumulative[-1]).clamp_max_(len(weights) - 1)
