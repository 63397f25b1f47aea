"""A bank of past crops as k-mix has it in training, to look at and to mix examples with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..core.errors import UserError
from ..core.seeding import numpy_generator
from ..tasks.corpus import Corpus
from ..views.k_mix import KMix, nearest_centroids
from ..views.make_views import ViewMaker
from ..views.view import View
from .batches import crop_starts


@dataclass(frozen=True)
class KMixBank:
    """Unmixed crops in nats, oldest first, and where they come from.

    Attributes:
        view: The crops (N, 1, F, T) and their spans.
        clip_ids: The clip of each, (N,).
        starts: First frame of each in its clip, negative in front of a shorter clip, (N,).
        clusters: Cluster of each, (N,) int64.
    """

    view: View
    clip_ids: np.ndarray
    starts: np.ndarray
    clusters: np.ndarray

    def at(self, entries: np.ndarray) -> KMixBank:
        """Return some of the entries, in the order asked for."""
        view = View(*(part[torch.from_numpy(entries)] for part in self.view))
        facts = self.clip_ids, self.starts, self.clusters
        return KMixBank(view, *(fact[entries] for fact in facts))

    def put_into(self, views: ViewMaker) -> KMix:
        """Fill the bank of views that use k-mix, and return the k-mix.

        Raises:
            UserError: They do not.
        """
        if not isinstance(views.mixup, KMix):
            raise UserError(f"{views!r} uses no k-mix: make it with mixing='k_mix'")
        views.mixup.remember(views.normalised(self.view), torch.from_numpy(self.clusters))
        return views.mixup


def draw_bank(
    corpus: Corpus,
    centroids: np.ndarray,
    *,
    size: int,
    crop_frames: int = 96,
    seed: int = 0,
    stream: str = "bank",
) -> KMixBank:
    """Return random crops with their clusters, drawn as training draws them.

    Clips come in a random order; when all have been there, they come again in another.

    Args:
        corpus: The training clips.
        centroids: Of their time-means, (K, F) float32.
        size: How many crops.
        crop_frames: Frames of a crop.
        seed: Seed of order and crops.
        stream: Names the randomness.
    """
    store, rows = corpus.store, corpus.rows
    random = numpy_generator(seed, "k-mix", stream)
    rounds = [random.permutation(rows) for _ in range(-(-size // len(rows)))]
    chosen = np.concatenate(rounds)[:size]
    starts = crop_starts(store.n_frames[chosen], crop_frames, random.random(size))
    crops, spans = store.crops(chosen, starts, crop_frames)
    view = View(crops.transpose(1, 2).unsqueeze(1), spans)  # (N, 1, F, T)
    clusters = nearest_centroids(view, torch.from_numpy(centroids))
    return KMixBank(view, store.clip_ids[chosen], starts, clusters.numpy())
