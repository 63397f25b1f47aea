"""Frame embeddings: what an encoder says about each moment of a clip."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.store import LogMelStore
from ..encoders.encoder import Encoder
from ..encoders.trained import TrainedEncoder
from ..training.precision import pick_device
from .embed import MAX_SECONDS, inference_copy, inputs_of
from .pieces import Pieces, whole_clips

BATCH_FRAMES = 9600


class _Piece(NamedTuple):
    start: int
    frames: NDArray[np.float32]  # (T', D), real ones
    positions: NDArray[np.float32]  # in frames of the clip, (T',)


def embed_with_frames(
    trained: TrainedEncoder,
    store: LogMelStore,
    *,
    batch_frames: int = BATCH_FRAMES,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]]:
    """Embed all clips of a store as ``whole_clip`` evaluation does, keeping their frames.

    Args:
        trained: The encoder, its normalisation and front-end.
        store: Log-mels of N clips.
        batch_frames: Frames in a batch; the memory it takes is proportional.
        device: Where to compute.

    Yields:
        Frames (T, D), clip vector (D,) and the frames' centres in seconds (T,), clip by clip.
    """
    front_end = store.front_end
    pieces = whole_clips(store.n_frames, front_end.frames(MAX_SECONDS))
    clips = torch.zeros(len(store), trained.encoder.dim)
    found: list[list[_Piece]] = [[] for _ in range(len(store))]
    for batch, encoder, log_mel, spans in _passes(trained, store, pieces, batch_frames, device):
        frames, mask, centres = encoder.time_features(log_mel, spans)
        pooled = encoder.pool(frames, spans, encoder.cut).float().cpu()
        clips.index_add_(
            0, torch.from_numpy(batch.clip), pooled * torch.from_numpy(batch.weight)[:, None]
        )
        for clip, piece in zip(batch.clip, _split(batch, frames, mask, centres), strict=True):
            found[clip].append(piece)
    seconds_per_frame = front_end.hop / front_end.sample_rate
    for vector, parts, length in zip(clips.numpy(), found, store.n_frames, strict=True):
        parts.sort(key=lambda piece: piece.start)
        positions = np.concatenate([piece.positions for piece in parts]).clip(0, length - 1)
        features = np.concatenate([piece.frames for piece in parts])
        yield features, vector, (positions * seconds_per_frame).astype(np.float32)


def even_frames(
    trained: TrainedEncoder,
    store: LogMelStore,
    *,
    max_hop_ms: float,
    batch_frames: int = BATCH_FRAMES,
    device: torch.device | str = "cpu",
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embed equally long clips at even moments from their first frame to their last.

    Where the encoder's own hop is longer than asked for, it passes over the clip several times,
    each time a fraction of its stride later, and the passes are interleaved.

    Args:
        trained: The encoder, its normalisation and front-end.
        store: Log-mels of N clips of T' frames each.
        max_hop_ms: Longest distance between moments; never less than the front-end's own hop.
        batch_frames: Frames in a batch.
        device: Where to compute.

    Returns:
        Frames (N, T, D) float32, and their centres in milliseconds (T,) float32.
    """
    encoder, front_end = trained.encoder, store.front_end
    stride, hop_ms = encoder.strides[encoder.cut], 1000 * front_end.hop / front_end.sample_rate
    step = _largest_divisor(stride, max_hop_ms / hop_ms)
    n_clips, n_moments = len(store), -(-int(store.n_frames[0]) // step)
    moments = np.empty((n_clips, n_moments, encoder.dim), np.float32)
    pieces = _interleaved(n_clips, n_moments, stride, step, front_end.frames(MAX_SECONDS))
    lead = _lead(stride)
    for batch, encoder, log_mel, spans in _passes(trained, store, pieces, batch_frames, device):
        whole = torch.tensor([0.0, log_mel.shape[3]], device=spans.device).expand_as(spans)
        frames = encoder.time_features(log_mel, whole)[0].float().cpu().numpy()
        first = (batch.start + lead) // step
        for clip, moment, values in zip(batch.clip, first, frames, strict=True):
            moments[clip, moment : moment + len(values) * (stride // step) : stride // step] = (
                values
            )
    centres = np.arange(n_moments) * step + (stride - 1) / 2 - lead
    return moments, (centres * hop_ms).astype(np.float32)


def _passes(
    trained: TrainedEncoder,
    store: LogMelStore,
    pieces: Pieces,
    batch_frames: int,
    device: torch.device | str,
) -> Iterator[tuple[Pieces, Encoder, Tensor, Tensor]]:
    """Yield batches of pieces with the encoder and what it takes of them."""
    where = pick_device(device)
    encoder = inference_copy(trained.encoder, [trained.encoder.cut], where)
    rows = np.arange(len(store))
    with torch.inference_mode():
        for batch, log_mel, spans in inputs_of(pieces, trained, store, rows, batch_frames, where):
            yield batch, encoder, log_mel, spans


def _split(batch: Pieces, frames: Tensor, mask: Tensor, centres: Tensor) -> Iterator[_Piece]:
    """Yield the real frames of each piece of a batch."""
    values, real = frames.float().cpu().numpy(), mask.cpu().numpy()
    positions = centres.cpu().numpy()
    for i, start in enumerate(batch.start):
        place = (positions[i, real[i]] + start).astype(np.float32)
        yield _Piece(int(start), values[i, real[i]], place)


def _largest_divisor(stride: int, most: float) -> int:
    """Return the largest divisor of ``stride`` that is at most ``most``, at least 1.

    >>> _largest_divisor(8, 5.0), _largest_divisor(4, 5.0), _largest_divisor(8, 0.5)
    (4, 4, 1)
    """
    return max(n for n in range(1, stride + 1) if stride % n == 0 and (n <= most or n == 1))


def _lead(stride: int) -> int:
    """Return how many frames of padding put the first centre at the clip's first frame."""
    return (stride - 1) // 2


def _interleaved(n_clips: int, n_moments: int, stride: int, step: int, max_frames: int) -> Pieces:
    """Return pieces that put a frame at every ``step``; pass j begins ``j * step`` frames later."""
    n_passes, longest = stride // step, max(1, max_frames // stride)
    places = [
        (number * step - _lead(stride) + first * stride, min(longest, count - first) * stride)
        for number in range(min(n_passes, n_moments))
        for count in [-(-(n_moments - number) // n_passes)]
        for first in range(0, count, longest)
    ]
    starts, lengths = np.array(places, dtype=np.int64).T
    clip = np.repeat(np.arange(n_clips), len(places))
    n_pieces = n_clips * len(places)
    return Pieces(
        clip, np.tile(starts, n_clips), np.tile(lengths, n_clips), np.ones(n_pieces, np.float32)
    )
