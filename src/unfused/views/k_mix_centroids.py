"""Centroids for k-mix: k-means of clips' time-mean log-mels."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..clustering.kmeans import KMeans
from ..seeding import derive_seed, numpy_generator

_CHUNK = 256  # clips between two steps of the progress bar


class TimeMeans(Protocol):
    """What is needed of a log-mel store; :class:`unfused.audio.store.LogMelStore` has it."""

    def time_means(self, rows: np.ndarray) -> np.ndarray:
        """Return each clip's mean log-mel over its frames, (B, F) float32."""
        ...


def fit_centroids(
    store: TimeMeans,
    rows: np.ndarray,
    *,
    n_centroids: int = 128,
    max_clips: int = 20000,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Cluster the un-normalised time-means of training clips with Euclidean k-means.

    SLICER (arXiv 2211.01519) clusters a tenth of AudioSet; its K is not known here. 128 is the
    number of rows of the only centroids that its authors' code comes with (MAST's).

    Args:
        store: Log-mels.
        rows: The training clips' rows, (N,).
        n_centroids: Number of clusters K; at most a tenth of the clips are taken, at least 1.
        max_clips: Of more clips a random sample of this size is clustered.
        seed: Seed of sample and k-means.

    Returns:
        Centroids in nats, (K, F) float32, and how many of the clustered clips each has, (K,) int64.

    Raises:
        ValueError: There is no clip, or a number is below 1.
    """
    if n_centroids < 1 or max_clips < 1 or not len(rows):
        raise ValueError(
            f"n_centroids={n_centroids} and max_clips={max_clips} must be at least 1, and there "
            f"must be a training clip to cluster; there are {len(rows)}"
        )
    chosen = np.asarray(rows, dtype=np.int64)
    if len(chosen) > max_clips:
        chosen = numpy_generator(seed, "k-mix clips").choice(chosen, max_clips, replace=False)
    chosen = np.sort(chosen)  # in the order of the files
    means = _time_means(store, chosen)
    k = max(1, min(n_centroids, len(chosen) // 10))
    kmeans = KMeans(k, seed=derive_seed(seed, "k-mix centroids")).fit(means)
    return kmeans.centroids_, torch.bincount(kmeans.labels_, minlength=k)


def _time_means(store: TimeMeans, rows: np.ndarray) -> Tensor:
    """Return the time-means, (N, F); clips are read one after the other and not kept."""
    chunks = np.split(rows, range(_CHUNK, len(rows), _CHUNK))
    disable = True if os.environ.get("TQDM_DISABLE") else None  # None: only on a terminal
    bar = tqdm(chunks, desc="time means", unit="chunk", delay=3, disable=disable)
    return torch.from_numpy(np.concatenate([store.time_means(chunk) for chunk in bar]))
