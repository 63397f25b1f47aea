"""Examples of k-mix to look at and to listen to: crop, partner, mixture and view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..core.seeding import torch_generator
from ..tasks.corpus import Corpus
from ..tasks.training_set import TrainingSet
from ..training.k_mix_bank import KMixBank, draw_bank
from ..training.pretraining import view_maker
from ..views.k_mix import centroid_distances
from ..views.make_views import ViewMaker
from .crop_sounds import CropPlayer, Sound, equally_loud

STEPS = ("crop", "partner", "k-mix", "view")
_CANDIDATES = 8  # crops for each example, of which those of different clusters are shown


@dataclass(frozen=True)
class Pair:
    """A crop and the partner that k-mix drew for it.

    Attributes:
        clip: The crop's clip.
        cluster: Its cluster.
        partner_clip: The partner's clip.
        partner_cluster: The partner's cluster.
        distance: Euclidean distance of the two centroids, in nats.
        median_distance: Median over the bank of the distance to the crop's centroid.
        share: Share lambda of the partner.
    """

    clip: str
    cluster: int
    partner_clip: str
    partner_cluster: int
    distance: float
    median_distance: float
    share: float


@dataclass(frozen=True)
class Example:
    """One crop, mixed.

    Attributes:
        pair: What was mixed.
        log_mels: Each of :data:`STEPS` -> normalised log-mel, (F, T) float32.
        sounds: Each of :data:`STEPS` -> how it sounds.
    """

    pair: Pair
    log_mels: Mapping[str, np.ndarray]
    sounds: Mapping[str, Sound]


@dataclass(frozen=True)
class KMixExamples:
    """Several of them, and what it takes to show and to play them.

    Attributes:
        examples: The examples.
        sample_rate: Of the sounds, in Hz.
        hop_seconds: Seconds per frame of the log-mels.
    """

    examples: tuple[Example, ...]
    sample_rate: int
    hop_seconds: float


def k_mix_examples(
    data: TrainingSet,
    manifest: pd.DataFrame,
    bank: KMixBank,
    views: Mapping[str, Any],
    *,
    n_examples: int = 4,
    seed: int = 0,
) -> KMixExamples:
    """Draw crops of different clusters and do to them what training does, step by step.

    Args:
        data: The training clips, with the centroids of k-mix.
        manifest: Columns clip_id, path, offset, frames and sample_rate, to play the originals.
        bank: What partners are taken from.
        views: Arguments of :class:`~unfused.views.make_views.ViewMaker`, mixing ``k_mix``.
        n_examples: How many; fewer where there are fewer clips.
        seed: Which clips, crops, partners and boxes.

    Raises:
        ValueError: The views do not use k-mix.
    """
    crop_frames = bank.view.log_mel.shape[-1]
    size = min(n_examples * _CANDIDATES, len(data.clips))
    assert data.k_mix_centroids is not None
    corpus = Corpus.of(data.store, data.clips, name="k-mix")
    drawn = draw_bank(
        corpus,
        data.k_mix_centroids,
        size=size,
        crop_frames=crop_frames,
        seed=seed,
        stream="examples",
    )
    crops = drawn.at(_different(drawn.clusters, n_examples))
    maker = view_maker(corpus, views, crop_frames, data.k_mix_centroids)
    log_mels, shares, partners = _mixed(maker, bank, crops, seed)
    pairs = _pairs(data, crops, bank.at(partners), bank.clusters, shares)
    player = CropPlayer(data, manifest)
    examples = []
    for number, pair in enumerate(pairs):
        images = {step: log_mels[step][number, 0].numpy() for step in STEPS}
        starts = crops.starts[number], bank.starts[partners[number]]
        examples.append(Example(pair, images, _sounds(player, pair, images, *starts)))
    hop_seconds = data.store.front_end.hop / data.store.front_end.sample_rate
    return KMixExamples(tuple(examples), data.store.front_end.sample_rate, hop_seconds)


def _different(clusters: np.ndarray, n: int) -> np.ndarray:
    """Return which crops to show: the first of each cluster, then others, at most n."""
    first = np.sort(np.unique(clusters, return_index=True)[1])
    others = np.setdiff1d(np.arange(len(clusters)), first)
    return np.concatenate([first, others])[:n]


def _mixed(
    maker: ViewMaker, bank: KMixBank, crops: KMixBank, seed: int
) -> tuple[dict[str, Tensor], np.ndarray, np.ndarray]:
    """Return the normalised log-mels of each step, (n, 1, F, T), shares and partners, (n,)."""
    k_mix = bank.put_into(maker)
    generator = torch_generator(seed, "k-mix examples")
    mixing = k_mix.draw(torch.from_numpy(crops.clusters), generator)
    plain = maker.normalised(crops.view)
    mixed = k_mix.mix(plain, mixing)
    log_mels = {
        "crop": plain.log_mel,
        "partner": k_mix.bank[mixing.partner].unsqueeze(1),
        "k-mix": mixed.log_mel,
        "view": maker.fader(maker.resize_crop(mixed, generator), generator).log_mel,
    }
    return log_mels, mixing.weight.numpy(), mixing.partner.numpy()


def _pairs(
    data: TrainingSet,
    crops: KMixBank,
    partners: KMixBank,
    bank_clusters: np.ndarray,
    shares: np.ndarray,
) -> list[Pair]:
    assert data.k_mix_centroids is not None  # the views were made with them
    distances = centroid_distances(torch.from_numpy(data.k_mix_centroids)).numpy()
    facts = (crops.clip_ids, crops.clusters, partners.clip_ids, partners.clusters, shares)
    return [
        Pair(
            clip=str(clip),
            cluster=int(cluster),
            partner_clip=str(partner),
            partner_cluster=int(far),
            distance=float(distances[cluster, far]),
            median_distance=float(np.median(distances[cluster, bank_clusters])),
            share=float(share),
        )
        for clip, cluster, partner, far, share in zip(*facts, strict=True)
    ]


def _sounds(
    player: CropPlayer,
    pair: Pair,
    log_mels: Mapping[str, np.ndarray],
    start: int,
    partner_start: int,
) -> dict[str, Sound]:
    sounds = [
        player.crop(log_mels["crop"], pair.clip, int(start)),
        player.crop(log_mels["partner"], pair.partner_clip, int(partner_start)),
        player.log_mel(log_mels["k-mix"]),
        player.log_mel(log_mels["view"]),
    ]
    return dict(zip(STEPS, equally_loud(sounds), strict=True))
