"""Examples of k-mix to look at and to listen to: crop, partner, mixture and view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..audio.inversion import approximate_waveform
from ..audio.log_mel import FrontEnd
from ..audio.reading import UnreadableAudio, read_mono
from ..audio.store import LogMelStore
from ..seeding import torch_generator
from ..training.k_mix_bank import KMixBank, draw_bank
from ..views.k_mix import centroid_distances
from ..views.make_views import ViewMaker
from ..views.view import View

STEPS = ("crop", "partner", "k-mix", "view")
_CANDIDATES = 8  # crops for each example, of which those of different clusters are shown


@dataclass(frozen=True)
class Sound:
    """Something to listen to.

    Attributes:
        samples: Mono, (N,) float32 in [-1, 1].
        original: From the audio file; otherwise an approximation made from the log-mel.
    """

    samples: np.ndarray
    original: bool


@dataclass(frozen=True)
class KMixExample:
    """One crop, mixed.

    Attributes:
        clip_id: The crop's clip.
        cluster: Its cluster.
        partner_id: The partner's clip.
        partner_cluster: The partner's cluster.
        distance: Euclidean distance of the two centroids, in nats.
        median_distance: Median distance of the crop's centroid to those of the bank's entries.
        share: Share lambda of the partner.
        log_mels: Each of :data:`STEPS` -> normalised log-mel, (F, T) float32.
        sounds: Each of :data:`STEPS` -> how it sounds.
    """

    clip_id: str
    cluster: int
    partner_id: str
    partner_cluster: int
    distance: float
    median_distance: float
    share: float
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

    examples: tuple[KMixExample, ...]
    sample_rate: int
    hop_seconds: float


def k_mix_examples(
    store: LogMelStore,
    rows: np.ndarray,
    manifest: pd.DataFrame,
    bank: KMixBank,
    centroids: np.ndarray,
    *,
    mean: float,
    std: float,
    views: Mapping[str, Any],
    n_examples: int = 4,
    seed: int = 0,
) -> KMixExamples:
    """Draw crops of different clusters and do to them what training does, step by step.

    Args:
        store: Log-mels.
        rows: The training clips' rows in the store.
        manifest: Columns clip_id, path, offset, frames and sample_rate, to play the original.
        bank: What partners are taken from.
        centroids: Of k-mix, (K, F).
        mean: Mean of the training log-mels.
        std: Their standard deviation.
        views: Arguments of :class:`~unfused.views.make_views.ViewMaker`.
        n_examples: How many; fewer where there are fewer clips.
        seed: Which clips, crops, partners and boxes.
    """
    crop_frames, front_end = bank.view.log_mel.shape[-1], store.front_end
    size = min(n_examples * _CANDIDATES, len(rows))
    drawn = draw_bank(
        store, rows, centroids, size=size, crop_frames=crop_frames, seed=seed, stream="examples"
    )
    chosen = _different(drawn.clusters, n_examples)
    maker = ViewMaker(
        mean=mean,
        std=std,
        n_mels=front_end.n_mels,
        crop_frames=crop_frames,
        k_mix_centroids=torch.from_numpy(centroids),
        **views,
    )
    steps, draws = _steps(maker, bank, drawn, chosen, seed)
    distances = centroid_distances(torch.from_numpy(centroids)).numpy()
    player = _Player(manifest, front_end, mean, std)
    examples = []
    for number, (query, (share, partner)) in enumerate(zip(chosen, draws, strict=True)):
        cluster, of_bank = drawn.clusters[query], distances[drawn.clusters[query], bank.clusters]
        log_mels = {step: steps[step][number, 0].numpy() for step in STEPS}
        places = {"crop": (drawn, int(query)), "partner": (bank, partner)}
        examples.append(
            KMixExample(
                clip_id=str(drawn.clip_ids[query]),
                cluster=int(cluster),
                partner_id=str(bank.clip_ids[partner]),
                partner_cluster=int(bank.clusters[partner]),
                distance=float(of_bank[partner]),
                median_distance=float(np.median(of_bank)),
                share=share,
                log_mels=log_mels,
                sounds=player.sounds(log_mels, places),
            )
        )
    return KMixExamples(
        tuple(examples), front_end.sample_rate, front_end.hop / front_end.sample_rate
    )


def _different(clusters: np.ndarray, n: int) -> np.ndarray:
    """Return which crops to show: the first of each cluster, then others, (<= n,)."""
    first = np.sort(np.unique(clusters, return_index=True)[1])
    others = np.setdiff1d(np.arange(len(clusters)), first)
    return np.concatenate([first, others])[:n]


def _steps(
    maker: ViewMaker, bank: KMixBank, drawn: KMixBank, chosen: np.ndarray, seed: int
) -> tuple[dict[str, torch.Tensor], list[tuple[float, int]]]:
    """Return the normalised log-mels of each step, (n, 1, F, T), and each share and partner."""
    k_mix = bank.put_into(maker)
    crops = View(*(part[chosen] for part in drawn.view))
    generator = torch_generator(seed, "k-mix examples")
    mixing = k_mix.draw(torch.from_numpy(drawn.clusters[chosen]), generator)
    plain = maker.plain(crops)
    mixed = View(k_mix.mix(plain.log_mel, mixing), crops.spans)
    log_mels = {
        "crop": plain.log_mel,
        "partner": k_mix.bank[mixing.partner].unsqueeze(1),
        "k-mix": mixed.log_mel,
        "view": maker.resize_crop(mixed, generator).log_mel,
    }
    return log_mels, list(zip(mixing.weight.tolist(), mixing.partner.tolist(), strict=True))


class _Player:
    """Makes sounds of crops."""

    def __init__(
        self, manifest: pd.DataFrame, front_end: FrontEnd, mean: float, std: float
    ) -> None:
        self.files = manifest.drop_duplicates("clip_id").set_index("clip_id")
        self.front_end, self.mean, self.std = front_end, mean, std

    def sounds(
        self, log_mels: Mapping[str, np.ndarray], places: Mapping[str, tuple[KMixBank, int]]
    ) -> dict[str, Sound]:
        """Return the sound of every step, with one gain for all of them."""
        waves = {step: self._original(*places[step]) if step in places else None for step in STEPS}
        original = {step: wave is not None for step, wave in waves.items()}
        made = {
            step: self._approximate(log_mels[step]) if wave is None else wave
            for step, wave in waves.items()
        }
        gain = 0.9 / max(1e-6, *(float(np.abs(wave).max()) for wave in made.values()))
        return {step: Sound(wave * gain, original[step]) for step, wave in made.items()}

    def _approximate(self, log_mel: np.ndarray) -> np.ndarray:
        return approximate_waveform(log_mel.T * self.std + self.mean, self.front_end)

    def _original(self, crops: KMixBank, entry: int) -> np.ndarray | None:
        """Return a crop of the file, silence where the crop reaches over it; None without it."""
        hop, rate = self.front_end.hop, self.front_end.sample_rate
        start = int(crops.starts[entry]) * hop
        wave = np.zeros((crops.view.log_mel.shape[-1] - 1) * hop, dtype=np.float32)
        try:
            whole = self._file(str(crops.clip_ids[entry]), rate)
        except UnreadableAudio:
            return None
        part = whole[max(start, 0) : start + len(wave)]
        wave[max(-start, 0) :][: len(part)] = part
        return wave

    def _file(self, clip_id: str, rate: int) -> np.ndarray:
        if clip_id not in self.files.index:
            raise UnreadableAudio(f"clip {clip_id} is not in the manifest")
        file = self.files.loc[clip_id]
        return read_mono(
            Path(file["path"]),
            offset=int(file["offset"]),
            frames=int(file["frames"]),
            sample_rate=rate,
        )
