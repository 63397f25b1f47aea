"""Which pieces of each clip are embedded: the whole clip, windows of it, or one random crop.

The pieces of a clip depend on nothing but the clip, so neither does its embedding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UserError
from ..core.seeding import derive_seed

Protocol = Literal["whole_clip", "window_mean", "random_crop"]
MIN_FRAMES = 96  # a shorter clip is centred in this many frames
MULTIPLE = 8  # frames; the largest stride of the encoders, so that no frame is dropped


class Pieces(NamedTuple):
    """Pieces of clips; a clip's embedding is their weighted sum.

    Attributes:
        clip: Number of the clip each piece belongs to, (P,) int64.
        start: First frame; negative where the piece begins in padding, (P,) int64.
        length: Frames, padding included, (P,) int64.
        weight: Share in the clip's embedding, (P,) float32; a clip's weights sum to 1.
    """

    clip: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    weight: NDArray[np.float32]

    def at(self, chosen: NDArray[np.int64]) -> Pieces:
        """Return some of the pieces."""
        clip, start, length, weight = self
        return Pieces(clip[chosen], start[chosen], length[chosen], weight[chosen])


def cut_pieces(
    protocol: Protocol,
    clip_ids: Iterable[str],
    n_frames: NDArray[np.int64],
    *,
    max_frames: int,
    crop_frames: int,
    seed: int,
) -> Pieces:
    """Return the pieces of some clips under a protocol.

    Args:
        protocol: See :func:`unfused.embeddings.embed.embed_clips`.
        clip_ids: Ids of the clips, (N,).
        n_frames: Their lengths, (N,).
        max_frames: A longer clip is cut into chunks (``whole_clip``).
        crop_frames: Length of windows and crops.
        seed: Seed of the random crops.

    Raises:
        ValueError: The protocol is unknown.
    """
    if protocol == "whole_clip":
        return whole_clips(n_frames, max_frames)
    if protocol == "window_mean":
        return windows(n_frames, crop_frames)
    if protocol == "random_crop":
        return random_crops(clip_ids, n_frames, crop_frames, seed)
    raise UserError(f"protocol={protocol!r} is unknown; choose from {list(get_args(Protocol))}")


def whole_clips(n_frames: NDArray[np.int64], max_frames: int) -> Pieces:
    """Return each clip whole, or in equal chunks weighted by their frames.

    A clip shorter than ``MIN_FRAMES`` is centred in that many; the end of any other is padded to a
    multiple of 8 frames, always and in every batch.

    >>> whole_clips(np.array([50, 97, 2000]), 1200).length
    array([  96,  104, 1000, 1000])
    """
    units = -(-n_frames // MULTIPLE)
    n_chunks = -(-n_frames // max_frames)
    clip, chunk = _numbered(n_chunks)
    edges = (units[clip] * chunk // n_chunks[clip], units[clip] * (chunk + 1) // n_chunks[clip])
    start, length = edges[0] * MULTIPLE, (edges[1] - edges[0]) * MULTIPLE
    real = np.minimum(start + length, n_frames[clip]) - start
    short = n_frames[clip] < MIN_FRAMES
    start = np.where(short, _centred(n_frames[clip], MIN_FRAMES), start)
    weight = (real / n_frames[clip]).astype(np.float32)
    return Pieces(clip, start, np.where(short, MIN_FRAMES, length), weight)


def windows(n_frames: NDArray[np.int64], length: int) -> Pieces:
    """Return evenly spaced windows that cover each clip; neighbours overlap where they must.

    >>> windows(np.array([50, 192, 200]), 96).start
    array([-23,   0,  96,   0,  52, 104])
    """
    n_windows = -(-n_frames // length)
    clip, window = _numbered(n_windows)
    last = n_frames[clip] - length
    start = window * last // np.maximum(n_windows[clip] - 1, 1)
    start = np.where(last < 0, _centred(n_frames[clip], length), start)
    weight = (1 / n_windows[clip]).astype(np.float32)
    return Pieces(clip, start, np.full(len(clip), length), weight)


def random_crops(
    clip_ids: Iterable[str], n_frames: NDArray[np.int64], length: int, seed: int
) -> Pieces:
    """Return one crop of each clip, as the papers' linear evaluation does, seeded by clip id."""
    draws = [derive_seed(seed, "random crop", str(clip_id)) / 2**63 for clip_id in clip_ids]
    start = (np.array(draws) * (n_frames - length + 1)).astype(np.int64)
    start = np.where(n_frames < length, _centred(n_frames, length), start)
    n = len(n_frames)
    return Pieces(np.arange(n), start, np.full(n, length), np.ones(n, np.float32))


def _centred(n_frames: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    return -((length - n_frames) // 2)


def _numbered(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return owner and number within it of ``counts[i]`` pieces of each owner i."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
