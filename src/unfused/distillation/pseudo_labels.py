"""Pseudo-labels: whiten the teacher's vectors, put them on the unit sphere, cluster them."""

from __future__ import annotations

import logging
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from ..clustering.kmeans import KMeans
from ..core.errors import UserError

log = logging.getLogger(__name__)
Whiten = int | Literal["auto"] | None
CLIPS_PER_AXIS = 32
STARTS = 10


def pseudo_labels(
    points: NDArray[np.floating], n_clusters: int, *, iterations: int = 20, seed: int = 0
) -> NDArray[np.int64]:
    """Cluster clips as UnFuSeD does (arXiv 2303.05668; constants of the official code).

    k-means with 20 iterations on points from :func:`on_sphere`. Ours: k-means++ and the best of
    several starts instead of one random start.

    Args:
        points: One row for each clip, (N, D).
        n_clusters: Number of clusters K; the official code takes the task's number of classes.
        iterations: Updates of the centroids.
        seed: Seed of k-means.

    Returns:
        Cluster of each clip, (N,).

    Raises:
        UserError: There are fewer than 2 clusters, or fewer clips than clusters.
    """
    if not 2 <= n_clusters <= len(points):
        raise UserError(
            f"n_clusters={n_clusters} must be at least 2 and at most the number of clips, "
            f"{len(points)}; set it in between, or add audio"
        )
    kmeans = KMeans(n_clusters, n_iterations=iterations, seed=seed, n_init=STARTS)
    labels: NDArray[np.int64] = kmeans.fit(torch.from_numpy(points)).labels_.cpu().numpy()
    if empty := n_clusters - len(np.unique(labels)):
        log.warning("%d of %d clusters are empty: many clips are the same", empty, n_clusters)
    return labels


def on_sphere(vectors: NDArray[np.floating], whiten: Whiten = "auto") -> NDArray[np.float32]:
    """Return clips' vectors whitened and of length 1: what is clustered, or learnt as it is.

    The official code whitens to 128 axes, for tens of thousands of clips. Of a few hundred most of
    those are noise, made as large as everything else. ``"auto"`` keeps one axis for every 32 clips,
    at most 128: of the rules that need no labels the closest to the best fixed number on seven real
    sets (docs/method.md).

    Args:
        vectors: One row for each clip, (N, D).
        whiten: Axes of largest variance that are kept, each scaled to unit variance; never more
            than a quarter of the clips. None: no whitening, the mean is subtracted.

    Returns:
        (N, D').

    Raises:
        UserError: The vectors are no finite (N, D), or all the same.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise UserError(
            f"vectors of shape {rows.shape} must be (N, D) and finite; if they are NaN, the "
            "encoder has diverged: train again"
        )
    spread = float(np.ptp(rows, axis=0).max(initial=0.0))
    if spread <= 1e-9 * max(1.0, float(np.abs(rows).max(initial=0.0))):
        raise UserError(
            f"the vectors of all {len(rows)} clips are the same: the encoder has collapsed; look "
            "at the effective rank in the training metrics"
        )
    axes = n_axes(rows.shape, whiten)
    if axes is None:
        points = rows - rows.mean(axis=0)
    else:
        pca = PCA(axes, whiten=True, svd_solver="covariance_eigh")
        points = pca.fit_transform(rows)
        variances = pca.explained_variance_  # those of rounding errors would be scaled to 1 too
        points = points[:, variances > 1e-10 * variances[0]]
    unit: NDArray[np.float32] = normalize(points).astype(np.float32)
    return unit


def n_axes(shape: tuple[int, ...], whiten: Whiten) -> int | None:
    """Return how many axes whitening keeps of N vectors of D dimensions.

    >>> n_axes((320, 1536), "auto"), n_axes((20_000, 1536), "auto"), n_axes((320, 1536), 128)
    (10, 128, 80)
    """
    clips, width = shape
    if whiten is None:
        return None
    asked: Any = min(128, clips // CLIPS_PER_AXIS) if whiten == "auto" else whiten
    if not isinstance(asked, int) or (whiten != "auto" and asked < 2):
        raise UserError(f"whiten={whiten!r} must be 'auto', None or at least 2 axes")
    return min(max(asked, 2), max(2, clips // 4), width)
