"""Long recordings in pieces that are as long as the clips a classifier was fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import UserError
from ..data.store import LogMelStore


@dataclass(frozen=True)
class Segmentation:
    """How recordings are cut.

    Attributes:
        seconds: Length of a segment. A recording that is longer by less than a tenth stays whole.
        hop_seconds: From one segment's start to the next; the last one ends with the recording, so
            it may overlap its neighbour more.

    Raises:
        ValueError: A length is not positive, or the hop leaves gaps between segments.
    """

    seconds: float
    hop_seconds: float

    def __post_init__(self) -> None:
        if not self.seconds > 0 or not self.hop_seconds > 0:
            raise UserError(
                f"segment_seconds={self.seconds} and hop_seconds={self.hop_seconds} must be above 0"
            )
        if self.hop_seconds > self.seconds:
            raise UserError(
                f"hop_seconds={self.hop_seconds} is more than segment_seconds={self.seconds}, so "
                "audio between segments would not be heard: set it lower, or segments longer"
            )


def cut_segments(
    store: LogMelStore, segmentation: Segmentation
) -> tuple[LogMelStore, pd.DataFrame]:
    """Cut every clip of a store into segments.

    They are cut from the log-mel of the whole clip, whose frames at a border see what is beyond it,
    and have as many frames as a clip of that length.

    Args:
        store: Log-mels.
        segmentation: How.

    Returns:
        A store of the segments, and one row for each with columns row (its clip's), start_seconds
        and end_seconds, within the clip.
    """
    per_second = store.front_end.sample_rate / store.front_end.hop
    length = store.front_end.frames(segmentation.seconds)
    hop = max(1, round(segmentation.hop_seconds * per_second))
    bounds = [segment_bounds(int(n_frames), length, hop) for n_frames in store.n_frames]
    row = np.repeat(np.arange(len(bounds)), [len(starts) for starts, _ in bounds])
    start, n_frames = (np.concatenate(parts) for parts in zip(*bounds, strict=True))
    table = pd.DataFrame({"row": row, "start_seconds": start / per_second})
    table["end_seconds"] = (start + n_frames - 1) / per_second
    return store.parts(row, start, n_frames), table


def segment_bounds(
    n_frames: int, length: int, hop: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return first frame and length of each segment of a clip.

    A rest of at most a tenth of a segment belongs to the last one.

    >>> segment_bounds(250, 100, 100), segment_bounds(205, 100, 100), segment_bounds(80, 100, 50)
    ((array([  0, 100, 150]), array([100, 100, 100])), (array([  0, 100]), array([100, 105])), \
(array([0]), array([80])))
    """
    last, slack = n_frames - length, length // 10
    if last <= slack:
        return np.zeros(1, dtype=np.int64), np.array([n_frames])
    starts = np.arange(0, last + 1, hop)
    lengths = np.full(len(starts), length)
    rest = last - int(starts[-1])
    if rest <= slack:
        lengths[-1] += rest
        return starts, lengths
    return np.append(starts, last), np.append(lengths, length)
