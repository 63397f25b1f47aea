"""Pseudo-labels: whiten features, put them on the unit sphere, cluster them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score
from torch import Tensor
from torch.nn import functional as F

from ..clustering.kmeans import KMeans
from ..core.errors import UserError
from .whitening import Whitening

log = logging.getLogger(__name__)
CLIPS_PER_AXIS = 4


@dataclass(frozen=True)
class PseudoLabels:
    """Clusters of a data set's clips.

    Attributes:
        labels: Cluster of each clip, (N,) int64.
        sizes: Clips in each cluster, (K,) int64.
        inertia: Sum of squared distances to the centroids.
        whitening: The fitted whitening; None if there was none.
        kmeans: The fitted k-means.
    """

    labels: np.ndarray
    sizes: np.ndarray
    inertia: float
    whitening: Whitening | None
    kmeans: KMeans

    @property
    def n_clusters(self) -> int:
        """Number of clusters K."""
        return len(self.sizes)

    def predict(self, features: Tensor | np.ndarray) -> np.ndarray:
        """Return the cluster of other clips' features, (N, D) -> (N,) int64."""
        points = _on_sphere(torch.as_tensor(features), self.whitening)
        return self.kmeans.predict(points).cpu().numpy()


def pseudo_labels(
    features: Tensor | np.ndarray,
    n_clusters: int,
    *,
    whiten_dim: int | None = 128,
    seed: int = 0,
    iterations: int = 20,
    n_init: int = 10,
) -> PseudoLabels:
    """Cluster clips as UnFuSeD does (arXiv 2303.05668; constants of the official code).

    PCA whitening to 128 dimensions, L2 normalisation, k-means with 20 iterations. Ours: k-means++
    and the best of several starts instead of one random start, and never more than N / 4 whitened
    axes, because with as many axes as clips all whitened clips are equally far from each other.

    Args:
        features: One row for each clip, (N, D).
        n_clusters: Number of clusters K; the official code takes the task's number of classes.
        whiten_dim: Axes that whitening keeps; None: no whitening, only L2 normalisation.
        seed: Seed of k-means.
        iterations: Updates of the centroids.
        n_init: Starts of k-means; the best is kept.

    Returns:
        The labels and what made them.

    Raises:
        ValueError: There are fewer than 2 clusters, fewer clips than clusters, or the features have
            collapsed or are not finite.
    """
    rows = torch.as_tensor(features).detach()
    _check(rows, n_clusters)
    whitening = _fitted_whitening(rows, whiten_dim)
    points = _on_sphere(rows, whitening)
    kmeans = KMeans(n_clusters, n_iterations=iterations, seed=seed, n_init=n_init).fit(points)
    labels = kmeans.labels_.cpu().numpy()
    sizes = np.bincount(labels, minlength=n_clusters)
    _check_sizes(sizes)
    return PseudoLabels(labels, sizes, kmeans.inertia_, whitening, kmeans)


def agreement(pseudo: Sequence[int] | np.ndarray, labels: Sequence[Any]) -> dict[str, float]:
    """Return how much clusters say about true labels; clips without a label are left out.

    Normalised mutual information grows with the number of clusters even for random ones; adjusted
    mutual information is 0 on average for those. Neither is ever used for training.

    Args:
        pseudo: Cluster of each clip, (N,).
        labels: True label of each clip, (N,); None, NaN or "" where there is none.

    Returns:
        ``nmi`` and ``ami``; NaN without labelled clips.

    Raises:
        ValueError: The lengths differ.

    >>> agreement([0, 0, 1, 1], ["b", "b", "a", "a"])["ami"]
    1.0
    """
    true = pd.Series(list(labels), dtype=object)
    clusters = np.asarray(pseudo)
    if len(true) != len(clusters):
        raise UserError(f"{len(clusters)} pseudo-labels but {len(true)} labels; give one for each")
    known = (true.notna() & (true.astype(str) != "")).to_numpy()
    if not known.any():
        return {"nmi": float("nan"), "ami": float("nan")}
    named, clusters = true[known].astype(str).to_numpy(), clusters[known]
    return {
        "nmi": float(normalized_mutual_info_score(named, clusters)),
        "ami": float(adjusted_mutual_info_score(named, clusters)),
    }


def clustered_points(features: Tensor | np.ndarray, whiten_dim: int | None = 128) -> np.ndarray:
    """Return the points that :func:`pseudo_labels` clusters: whitened, of length 1, (N, D')."""
    rows = torch.tensor(features) if isinstance(features, np.ndarray) else features.detach()
    return _on_sphere(rows, _fitted_whitening(rows, whiten_dim)).numpy()


def _fitted_whitening(features: Tensor, whiten_dim: int | None) -> Whitening | None:
    if whiten_dim is None:
        return None
    return Whitening(_whitened_axes(features, whiten_dim)).fit(features)


def _on_sphere(features: Tensor, whitening: Whitening | None) -> Tensor:
    points = features.float() if whitening is None else whitening.transform(features)
    return F.normalize(points, dim=1)


def _whitened_axes(features: Tensor, asked: int) -> int:
    n, width = features.shape
    axes = min(asked, width, max(2, n // CLIPS_PER_AXIS))
    if axes < asked:
        log.info(
            "whitening to %d instead of %d dimensions: %d clips, %d features", axes, asked, n, width
        )
    return min(axes, width)


def _check(features: Tensor, n_clusters: int) -> None:
    if features.dim() != 2 or not features.is_floating_point():
        raise UserError(
            f"features of shape {tuple(features.shape)} and type {features.dtype}: expected (N, D) "
            "floating point"
        )
    if not 2 <= n_clusters <= len(features):
        raise UserError(
            f"n_clusters={n_clusters} must be at least 2 and at most the number of clips, "
            f"{len(features)}; set pseudo_labels.n_clusters in between, or add audio"
        )
    if not torch.isfinite(features).all():
        raise UserError("some features are NaN or infinite: the encoder has diverged; train again")


def _check_sizes(sizes: np.ndarray) -> None:
    used = int((sizes > 0).sum())
    if used < 2:
        raise UserError(
            "all clips fell into one cluster: their features are the same, the encoder has "
            "collapsed; look at the effective rank in the training metrics"
        )
    if used < len(sizes):
        log.warning(
            "%d of %d clusters are empty: many clips are the same", len(sizes) - used, len(sizes)
        )
