"""Which clips are the same audio, under whatever name."""

from __future__ import annotations

import numpy as np
import pandas as pd

POSITION = ["offset", "frames"]
AUDIO_KEY = ["clip_id", "digest", *POSITION]
"""Which audio a clip is, whatever its file is called."""


def same_audio(clips: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """Return which of ``clips`` share audio with any of ``others``.

    Files are compared by the digest of their bytes. Where both tables have ``offset`` and
    ``frames``, only overlapping parts of a file count; else a common file is enough.

    Args:
        clips: Column digest, perhaps offset and frames, (N,) rows.
        others: The same.

    Returns:
        Boolean array, (N,).
    """
    known = (clips["digest"].fillna("") != "").to_numpy()
    common = known & clips["digest"].isin(others["digest"]).to_numpy()
    if not all(column in table for table in (clips, others) for column in POSITION):
        return common
    columns = ["digest", *POSITION]
    left = clips.loc[common, columns].assign(row=np.flatnonzero(common))
    pairs = left.merge(others[columns].drop_duplicates(), on="digest", suffixes=("", "_other"))
    overlap = (pairs["offset"] < pairs["offset_other"] + pairs["frames_other"]) & (
        pairs["offset_other"] < pairs["offset"] + pairs["frames"]
    )
    shared = np.zeros(len(clips), dtype=bool)
    shared[pairs.loc[overlap, "row"].to_numpy()] = True
    return shared
