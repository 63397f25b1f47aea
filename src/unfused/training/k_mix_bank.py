"""A bank of past crops as k-mix has it in training, to look at."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from ..core.seeding import numpy_generator
from ..tasks.corpus import Corpus
from ..views.k_mix import nearest_centroids
from ..views.view import View
from .batches import crop_starts


def draw_bank(
    corpus: Corpus, centroids: np.ndarray, *, size: int, crop_frames: int = 96, seed: int = 0
) -> pd.DataFrame:
    """Return random crops of the training clips with their clusters, drawn as training draws them.

    Clips come in a random order; when all have been there, they come again in another. Centroids
    are those of their time-means, (K, F) float32. There is one row a crop, the oldest first:
    clip_id, start (its first frame in the clip, negative in front of a shorter one) and cluster.
    """
    store, rows = corpus.store, corpus.rows
    random = numpy_generator(seed, "k-mix", "bank")
    rounds = [random.permutation(rows) for _ in range(-(-size // len(rows)))]
    chosen = np.concatenate(rounds)[:size]
    starts = crop_starts(store.n_frames[chosen], crop_frames, random.random(size))
    crops, spans = store.crops(chosen, starts, crop_frames)
    view = View(crops.transpose(1, 2).unsqueeze(1), spans)  # (N, 1, F, T)
    clusters = nearest_centroids(view, torch.from_numpy(centroids)).numpy()
    return pd.DataFrame({"clip_id": store.clip_ids[chosen], "start": starts, "cluster": clusters})
