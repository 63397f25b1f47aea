"""k-means on tensors of any device, in chunks, the same for the same seed."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import UserError, must_be, must_be_one_of
from ..core.seeding import torch_generator

Initialisation = Literal["kmeans++", "random"]
_CHUNK_ELEMENTS = 2**23  # distances held at once
_SAMPLE = 8192  # points that k-means++ looks at, at least; also at least 8 for each cluster


class _Step(NamedTuple):
    """What one pass over the points finds."""

    labels: Tensor  # (N,)
    distances: Tensor  # squared, to the nearest centroid, (N,)
    sums: Tensor  # (K, D)
    counts: Tensor  # (K,)
    inertia: Tensor  # ()


class KMeans:
    """Lloyd's algorithm; empty clusters are re-seeded where the inertia is.

    Args:
        n_clusters: Number of clusters K.
        n_iterations: At most this many updates of the centroids; fewer if nothing moves any more.
        seed: Seed of the initialisation and of the re-seeding.
        spherical: Normalise the centroids to unit length after each update, so that the nearest one
            is the one with the largest dot product (DeepCluster-v2, DECAR-v2). Points are taken as
            they are: give unit vectors for textbook spherical k-means.
        init: ``"kmeans++"`` (on a sample), or ``"random"`` points (DECAR-v2's official code).
        n_init: Number of runs from different starts; the one with the lowest inertia is kept.

    Attributes:
        centroids_: (K, D) float32.
        labels_: Cluster of each point, (N,) int64.
        inertia_: Sum of squared distances to the nearest centroid.

    >>> points = torch.tensor([[0.0], [2.0], [50.0], [52.0]])
    >>> KMeans(2).fit(points).inertia_
    4.0
    """

    centroids_: Tensor
    labels_: Tensor
    inertia_: float

    def __init__(
        self,
        n_clusters: int,
        *,
        n_iterations: int = 20,
        seed: int = 0,
        spherical: bool = False,
        init: Initialisation = "kmeans++",
        n_init: int = 1,
    ) -> None:
        self.n_clusters, self.n_iterations, self.n_init = n_clusters, n_iterations, n_init
        self.seed, self.spherical, self.init = seed, spherical, init

    def fit(self, points: Tensor) -> KMeans:
        """Find the centroids of points, (N, D), finite.

        Raises:
            UserError: There are fewer points than clusters, or an argument has no meaning.
        """
        self._check(points)
        points = points.detach().float()
        origin = torch.zeros_like(points[0]) if self.spherical else points.mean(dim=0)
        points = points - origin  # far from zero, differences of squares would lose their digits
        runs = [self._run(points, run) for run in range(self.n_init)]
        centroids, step = min(runs, key=lambda run: run[1].inertia.item())
        self.centroids_, self.labels_ = centroids + origin, step.labels
        self.inertia_ = step.inertia.item()
        return self

    def predict(self, points: Tensor) -> Tensor:
        """Return the nearest centroid of each point, (N,) int64."""
        origin = self.centroids_.mean(dim=0)
        return self._assign(points.detach().float() - origin, self.centroids_ - origin).labels

    def _run(self, points: Tensor, run: int) -> tuple[Tensor, _Step]:
        generator = torch_generator(self.seed, "k-means", run)
        start = _plus_plus if self.init == "kmeans++" else _random_rows
        centroids = self._shape(start(points, self.n_clusters, generator))
        step = self._assign(points, centroids)
        for _ in range(self.n_iterations):
            means = (step.sums / step.counts.clamp_min(1).unsqueeze(1)).float()
            empty = (step.counts == 0).nonzero().squeeze(1)
            if len(empty):  # where the inertia is: the largest cluster may be copies of one clip
                means[empty] = points[_draw(step.distances, len(empty), generator)]
            centroids = self._shape(means)
            previous, step = step, self._assign(points, centroids)
            if torch.equal(previous.labels, step.labels):
                break
        return centroids, step

    def _assign(self, points: Tensor, centroids: Tensor) -> _Step:
        """Find each point's nearest centroid, and what the next update needs."""
        k, dim = centroids.shape
        wide = torch.float32 if points.device.type == "mps" else torch.float64
        sums = torch.zeros(k, dim, dtype=wide, device=points.device)
        labels, distances = [], []
        offsets = centroids.square().sum(dim=1)
        for chunk in points.split(max(256, _CHUNK_ELEMENTS // max(k, dim))):
            nearest, label = torch.addmm(offsets, chunk, centroids.T, alpha=-2.0).min(dim=1)
            sums += _sum_by_label(chunk, label, k)
            labels.append(label)
            distances.append((nearest + chunk.square().sum(dim=1)).clamp_min(0.0))
        joined, distance = torch.cat(labels), torch.cat(distances)
        counts = torch.bincount(joined, minlength=k)
        return _Step(joined, distance, sums, counts, distance.sum(dtype=wide))

    def _shape(self, centroids: Tensor) -> Tensor:
        return F.normalize(centroids, dim=1) if self.spherical else centroids

    def _check(self, points: Tensor) -> None:
        if points.dim() != 2 or not points.is_floating_point():
            raise UserError(
                f"points of shape {tuple(points.shape)} and type {points.dtype}: expected (N, D) "
                "floating point"
            )
        if not 1 <= self.n_clusters <= len(points):
            raise UserError(
                f"n_clusters={self.n_clusters} must be 1 to {len(points)}, the {len(points)} "
                "points there are: ask for fewer clusters or give more points"
            )
        must_be_one_of(get_args(Initialisation), init=self.init)
        must_be("at least 1", n_iterations=self.n_iterations, n_init=self.n_init)
        rows = max(1, _CHUNK_ELEMENTS // max(1, points.shape[1]))  # its copies stay small
        if not all(torch.isfinite(part).all() for part in points.split(rows)):
            raise UserError("some points are NaN or infinite; the features have diverged")


def _sum_by_label(points: Tensor, labels: Tensor, n_labels: int) -> Tensor:
    """Return the sum of the points of each label, (K, D), the same on every call."""
    if points.is_cpu:  # elsewhere `index_add_` adds in any order, a matrix product does not
        return points.new_zeros(n_labels, points.shape[1]).index_add_(0, labels, points)
    return F.one_hot(labels, n_labels).to(points.dtype).T @ points


def _random_rows(points: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Return ``n`` different rows of ``points`` in random order, (n, D)."""
    rows = torch.randperm(len(points), generator=generator)[:n]
    return points[rows.to(points.device)]


def _plus_plus(points: Tensor, n_clusters: int, generator: torch.Generator) -> Tensor:
    """Return centroids far from each other, (K, D): greedy k-means++ on a sample.

    Each new centroid is drawn with probability proportional to the squared distance to the nearest
    one so far (Arthur & Vassilvitskii 2007); of 2 + log(K) draws the one that lowers the inertia
    most is kept, as in scikit-learn.
    """
    sample = _random_rows(points, min(len(points), max(_SAMPLE, 8 * n_clusters)), generator)
    squares = sample.square().sum(dim=1)

    def squared_distances(rows: Tensor) -> Tensor:
        products = sample[rows] @ sample.T
        return (squares[rows, None] + squares - 2.0 * products).clamp_min_(0.0)

    chosen = sample.new_zeros(n_clusters, dtype=torch.long)  # sample is shuffled: row 0 is random
    nearest = squared_distances(chosen[:1])[0]
    n_draws = 2 + int(math.log(n_clusters))
    for k in range(1, n_clusters):
        draws = _draw(nearest, n_draws, generator)
        candidates = torch.minimum(nearest, squared_distances(draws))
        best = candidates.sum(dim=1).argmin()
        chosen[k], nearest = draws[best], candidates[best]
    return sample[chosen]


def _draw(weights: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw ``n`` indices with probability proportional to their weight, (N,), not negative."""
    cumulative = weights.cumsum(dim=0, dtype=torch.float64 if weights.is_cpu else None)
    uniform = torch.rand(n, generator=generator).to(cumulative)
    return torch.searchsorted(cumulative, uniform * cumulative[-1]).clamp_max_(len(weights) - 1)
