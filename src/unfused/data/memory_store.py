"""A log-mel store of a few clips that touches no disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .log_mel import FrontEnd
from .shards import StoreError
from .store import LogMelStore


def memory_store(front_end: FrontEnd, log_mels: Sequence[Iterable[np.ndarray]]) -> LogMelStore:
    """Return a store of clips in memory, with the very values that one on disk would have.

    Args:
        front_end: The front-end the log-mels were made with.
        log_mels: Consecutive frames of each clip, each (T_i, F) float32.

    Returns:
        A store whose clips are called "0", "1" and so on; it knows no statistics.

    Raises:
        StoreError: No clip.
    """
    if not len(log_mels):
        raise StoreError("a store in memory needs at least one clip; none was given")
    # rounded to float16 as ShardWriter rounds
    clips = [
        np.concatenate([torch.from_numpy(part).half().numpy() for part in clip])
        for clip in log_mels
    ]
    n_frames = np.array([len(clip) for clip in clips])
    index = pd.DataFrame(
        {
            "clip_id": [str(number) for number in range(len(clips))],
            "digest": "",
            "shard": 0,
            "start": np.cumsum(n_frames) - n_frames,
            "n_frames": n_frames,
        }
    )
    remake = (memory_store, (front_end, [[clip.astype(np.float32)] for clip in clips]))
    return LogMelStore(Path(), front_end, index, [np.concatenate(clips)], remake)
