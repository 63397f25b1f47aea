"""Clip embeddings of a frozen encoder: one forward pass over the whole clip, pooled by the encoder.

LAPE embeds one random crop of each test clip and leaves batch norm and dropout in training mode;
here the encoder is in evaluation mode and the papers' crop is an option.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import UserError
from ..core.progress import progress
from ..data.store import LogMelStore
from ..encoders.encoder import Encoder
from ..encoders.trained import TrainedEncoder
from ..training.precision import pick_device
from .pieces import Pieces, Protocol, cut_pieces

MAX_SECONDS = 12.0


def embed_clips(
    trained: TrainedEncoder,
    store: LogMelStore,
    rows: NDArray[np.int64],
    *,
    cuts: Sequence[str] | None = None,
    protocol: Protocol = "whole_clip",
    crop_frames: int = 96,
    seed: int = 0,
    batch_frames: int = 9600,
    device: torch.device | str = "cpu",
) -> dict[str, NDArray[np.float32]]:
    """Embed clips; what comes out for a clip does not depend on the others.

    Pieces of equal padded length are batched, so nothing is padded to its neighbours.

    Args:
        trained: The encoder, its normalisation and front-end.
        store: Log-mels.
        rows: Which clips, (N,).
        cuts: Taps to embed at, all in one pass; None: the encoder's cut.
        protocol: ``whole_clip`` (chunks of at most 12 s, averaged by their frames), ``window_mean``
            (mean over windows of ``crop_frames``) or ``random_crop`` (the papers': one crop).
        crop_frames: Frames of a window or crop.
        seed: Seed of the random crops.
        batch_frames: Frames in a batch; the memory it takes is proportional.
        device: Where to compute, with a copy (the encoder itself stays as and where it is); "auto"
            takes a GPU if there is one.

    Returns:
        Cut -> embeddings, (N, D) float32.

    Raises:
        ValueError: Unknown cut or protocol, or the store has another front-end.
    """
    trained.check_front_end(store.front_end)
    cuts = list(cuts) if cuts else [trained.encoder.cut]
    device = pick_device(device)
    encoder = inference_copy(trained.encoder, cuts, device)
    rows = np.asarray(rows, dtype=np.int64)
    pieces = cut_pieces(
        protocol,
        store.clip_ids[rows],
        store.n_frames[rows],
        max_frames=store.front_end.frames(MAX_SECONDS),
        crop_frames=crop_frames,
        seed=seed,
    )
    sums = {cut: torch.zeros(len(rows), encoder.dims[cut]) for cut in cuts}
    bar = progress(total=len(pieces.clip), desc="embedding", unit="clip")
    with torch.inference_mode(), bar:
        for batch, log_mel, spans in inputs_of(pieces, trained, store, rows, batch_frames, device):
            weight = torch.from_numpy(batch.weight)[:, None]
            for cut, pooled in _pooled(encoder, cuts, log_mel, spans).items():
                sums[cut].index_add_(0, torch.from_numpy(batch.clip), pooled.float().cpu() * weight)
            bar.update(len(batch.clip))
    return {cut: total.numpy() for cut, total in sums.items()}


def inputs_of(
    pieces: Pieces,
    trained: TrainedEncoder,
    store: LogMelStore,
    rows: NDArray[np.int64],
    batch_frames: int,
    device: torch.device,
) -> Iterator[tuple[Pieces, Tensor, Tensor]]:
    """Yield pieces of equal length with what an encoder takes of them.

    Args:
        pieces: Pieces of the clips ``rows``.
        trained: The encoder, for its normalisation.
        store: Log-mels.
        rows: Which clips, (N,).
        batch_frames: Frames in a batch.
        device: Where to.

    Yields:
        The pieces, their normalised log-mels (B, 1, F, T) and their real parts (B, 2).
    """
    for batch in _batches(pieces, batch_frames):
        log_mel, spans = store.crops(rows[batch.clip], batch.start, int(batch.length[0]))
        spans = spans.to(device)
        yield batch, trained.normalise(log_mel.to(device), spans), spans


def log_mel_statistics(store: LogMelStore, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return mean and standard deviation over time of each mel band: the encoder-free baseline.

    Returns:
        (N, 2 F) float32, means first.
    """
    statistics = np.empty((len(rows), 2 * store.front_end.n_mels), np.float32)
    for i, row in enumerate(rows):
        clip = store.clip(int(row))  # (T, F)
        statistics[i] = np.concatenate([clip.mean(0), clip.std(0)])
    return statistics


def inference_copy(encoder: Encoder, cuts: Sequence[str], device: torch.device) -> Encoder:
    """Return a copy for inference that ends at the deepest cut; channels last is twice as fast."""
    unknown = [cut for cut in cuts if cut not in encoder.dims]
    if unknown:
        raise UserError(
            f"cuts={unknown} are no taps of this encoder; choose from {list(encoder.dims)}"
        )
    deepest = max(cuts, key=list(encoder.dims).index)
    if deepest == encoder.cut:
        copy = deepcopy(encoder)
    else:
        with torch.random.fork_rng(devices=[]):  # a new module draws weights first
            copy = encoder.truncated(deepest)
    copy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return copy.to(device).eval()


def _pooled(
    encoder: Encoder, cuts: Sequence[str], log_mel: Tensor, spans: Tensor
) -> dict[str, Tensor]:
    if list(cuts) == [encoder.cut]:
        return {encoder.cut: encoder(log_mel, spans)}
    pooled = encoder.pooled(log_mel, spans)
    return {cut: pooled[cut] for cut in cuts}


def _batches(pieces: Pieces, batch_frames: int) -> Iterator[Pieces]:
    """Yield pieces of equal length, short ones first, at most ``batch_frames`` frames at once."""
    order = np.argsort(pieces.length, kind="stable")
    edges = np.flatnonzero(np.diff(pieces.length[order])) + 1
    for same in np.split(order, edges):
        size = max(1, batch_frames // int(pieces.length[same].max(initial=1)))
        for begin in range(0, len(same), size):
            yield pieces.at(same[begin : begin + size])
