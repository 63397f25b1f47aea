"""Pseudo-labels: whiten the teacher's vectors, put them on the unit sphere, cluster them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from sklearn.preprocessing import normalize

from ..clustering.kmeans import KMeans
from ..core.errors import UserError

log = logging.getLogger(__name__)
Whiten = int | Literal["auto"] | None
CLIPS_PER_AXIS = 32
STARTS = 10
_ROWS = 4096


def pseudo_labels(
    points: NDArray[np.floating], n_clusters: int, *, iterations: int = 20, seed: int = 0
) -> NDArray[np.int64]:
    """Cluster clips as UnFuSeD does (arXiv 2303.05668; constants of the official code).

    k-means with 20 iterations on points from :func:`on_sphere`, (N, D); the official code takes as
    many clusters as the task has classes. Ours: k-means++ and the best of several starts instead of
    one random start. Returned is the cluster of each clip, (N,).

    Raises:
        UserError: There are fewer than 2 clusters, or fewer clips than clusters.
    """
    check_n_clusters(n_clusters, len(points))
    kmeans = KMeans(n_clusters, n_iterations=iterations, seed=seed, n_init=STARTS)
    labels: NDArray[np.int64] = kmeans.fit(torch.from_numpy(points)).labels_.cpu().numpy()
    if empty := n_clusters - len(np.unique(labels)):
        log.warning("%d of %d clusters are empty: many clips are the same", empty, n_clusters)
    return labels


def check_n_clusters(n_clusters: int | Sequence[int] | None, n_clips: int) -> None:
    """Refuse, by UserError, numbers of clusters that so many clips cannot make; None is no number.

    >>> check_n_clusters([10, 40], 320)
    """
    for k in [n_clusters] if isinstance(n_clusters, int) else n_clusters or []:
        if not 2 <= k <= n_clips:
            raise UserError(
                f"n_clusters={k} must be at least 2 and at most the number of clips to learn from, "
                f"{n_clips}; set it in between, or add audio"
            )


def on_sphere(vectors: NDArray[np.floating], whiten: Whiten = "auto") -> NDArray[np.float32]:
    """Return clips' vectors whitened and of length 1: what is clustered, or learnt as it is.

    The official code whitens to 128 axes, for tens of thousands of clips. Of a few hundred most of
    those are noise, made as large as everything else. ``"auto"`` keeps one axis for every 32 clips,
    at most 128: of the rules that need no labels the closest to the best fixed number on seven real
    sets (docs/method.md). Rows are taken some thousand at a time, so that a memory-mapped float16
    file of millions will do.

    Args:
        vectors: One row for each clip, (N, D) -> (N, D'); anything with a shape that gives slices.
        whiten: Axes of largest variance that are kept, each scaled to unit variance; never more
            than a quarter of the clips. None: no whitening, the mean is subtracted.

    Raises:
        UserError: The vectors are no finite (N, D), or all the same.
    """
    if vectors.ndim != 2 or not len(vectors):
        raise UserError(f"vectors of shape {vectors.shape} must be (N, D), of one clip or more")
    axes, (n, dim) = n_axes(vectors.shape, whiten), vectors.shape
    origin = next(_blocks(vectors)).mean(axis=0)  # far from zero, squares would lose their digits
    total, squares = np.zeros(dim), np.zeros((dim, dim))
    lowest, highest = np.full(dim, np.inf), np.full(dim, -np.inf)
    for block in _blocks(vectors):
        if not np.isfinite(block).all():
            raise UserError(
                "some vectors are not finite: the encoder has diverged, train it again; or a clip "
                "is damaged"
            )
        lowest = np.minimum(lowest, block.min(axis=0))
        highest = np.maximum(highest, block.max(axis=0))
        block -= origin
        total += block.sum(axis=0)
        if axes is not None:
            squares += block.T @ block
    largest = max(1.0, float(np.abs([lowest, highest]).max()))
    if float((highest - lowest).max()) <= 1e-9 * largest:
        raise UserError(
            f"the vectors of all {n} clips are the same: the encoder has collapsed; look at the "
            "effective rank in the training metrics"
        )
    mean = total / n
    projection = None if axes is None else _whitening(squares / n - np.outer(mean, mean), axes)
    points = np.empty((n, dim if projection is None else projection.shape[1]), np.float32)
    for first, block in zip(range(0, n, _ROWS), _blocks(vectors), strict=True):
        block -= origin + mean
        moved = block if projection is None else block @ projection
        points[first : first + _ROWS] = normalize(moved)
    return points


def on_spheres(
    parts: Sequence[NDArray[np.floating]], whiten: Whiten = "auto"
) -> NDArray[np.float32]:
    """Return what several embedders say of the same clips, all of them weighing the same.

    Side by side as they are, the one with the largest numbers would decide alone. So each,
    (N, D_i), is whitened by itself; see :func:`on_sphere`. Rows have length 1.
    """
    spheres = [on_sphere(vectors, whiten) for vectors in parts]
    return np.concatenate(spheres, axis=1) / np.float32(len(parts) ** 0.5)


def _blocks(vectors: NDArray[np.floating]) -> Iterator[NDArray[np.float64]]:
    """Yield copies of the rows, some thousand at once: millions need not fit into memory."""
    for first in range(0, max(len(vectors), 1), _ROWS):
        yield np.array(vectors[first : first + _ROWS], dtype=np.float64)


def _whitening(covariance: NDArray[np.float64], axes: int) -> NDArray[np.float64]:
    """Return what scales the axes of largest variance to unit variance, (D, D'), as PCA does.

    Up to the factor of N / (N - 1) in it, which the length of 1 takes away. Axes whose variance is
    rounding are left out.
    """
    dim = len(covariance)
    variances, directions = linalg.eigh(covariance, subset_by_index=[dim - axes, dim - 1])
    variances, directions = variances[::-1], directions[:, ::-1]
    kept = variances > 1e-10 * variances[0]
    directions = directions[:, kept]
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])]
    scaled: NDArray[np.float64] = directions * np.sign(largest) / np.sqrt(variances[kept])
    return scaled


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
