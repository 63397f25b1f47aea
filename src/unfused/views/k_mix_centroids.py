"""Centroids for k-mix: k-means of clips' time-mean log-mels."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..clustering.kmeans import KMeans
from ..core.errors import UserError
from ..core.progress import progress
from ..core.seeding import derive_seed, numpy_generator
from ..data.store import LogMelStore

_CHUNK = 256  # clips between two steps of the progress bar


def fit_centroids(
    store: LogMelStore,
    rows: np.ndarray,
    *,
    n_centroids: int = 128,
    max_clips: int = 20000,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Cluster the un-normalised time-means of training clips with Euclidean k-means.

    SLICER (arXiv 2211.01519) clusters a tenth of AudioSet and does not tell its K. 128 is that of
    the only centroids in its authors' code (MAST's).

    Args:
        store: Log-mels.
        rows: The training clips' rows, (N,).
        n_centroids: Number of clusters K; at most a tenth of the clips are taken, at least 1.
        max_clips: Of more clips a random sample of this size is clustered.
        seed: Seed of sample and k-means.

    Returns:
        Centroids in nats, (K, F) float32, and how many of the clustered clips each has, (K,) int64.

    Raises:
        UserError: There is no clip, or a number is below 1.
    """
    if n_centroids < 1 or max_clips < 1 or not len(rows):
        raise UserError(
            f"n_centroids={n_centroids} and max_clips={max_clips} must be at least 1, and there "
            f"must be a training clip to cluster; there are {len(rows)}"
        )
    chosen = np.asarray(rows, dtype=np.int64)
    if len(chosen) > max_clips:
        chosen = numpy_generator(seed, "k-mix clips").choice(chosen, max_clips, replace=False)
    chosen = np.sort(chosen)  # in the order of the files
    chunks = np.split(chosen, range(_CHUNK, len(chosen), _CHUNK))
    bar = progress(chunks, total=len(chunks), desc="time means", unit="chunk")
    means = torch.from_numpy(np.concatenate([store.time_means(chunk) for chunk in bar]))
    k = max(1, min(n_centroids, len(chosen) // 10))
    kmeans = KMeans(k, seed=derive_seed(seed, "k-mix centroids")).fit(means)
    return kmeans.centroids_, torch.bincount(kmeans.labels_, minlength=k)


def centroid_table(centroids: Tensor, counts: Tensor) -> pd.DataFrame:
    """Return centroids as a table, columns cluster, n_clips and ``band_0`` to ``band_<F - 1>``."""
    bands = pd.DataFrame(centroids.numpy()).add_prefix("band_")
    bands.insert(0, "n_clips", counts.numpy())
    return bands.rename_axis("cluster").reset_index()


def centroids_of(table: pd.DataFrame, fold: int) -> np.ndarray:
    """Return the centroids of one fold, (K, F) float32, of tables with a column fold."""
    of_fold = table[table["fold"] == fold].sort_values("cluster")
    bands = [f"band_{band}" for band in range(table.columns.str.startswith("band_").sum())]
    return of_fold[bands].to_numpy(dtype=np.float32, copy=True)  # torch wants to write
