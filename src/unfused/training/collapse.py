"""Telling the user when embeddings no longer tell clips apart."""

from __future__ import annotations

import logging

import pandas as pd

log = logging.getLogger(__name__)
MIN_STD = 0.01
MIN_EFFECTIVE_RANK = 1.5  # a participation ratio: 1 is a line; short runs that learn stay above 2
MIN_CLIPS = 16  # fewer clips span too few directions to judge by


def warn_of_collapse(history: pd.DataFrame, n_clips: int) -> bool:
    """Warn if the embeddings of a finished run are one point, or lie on one line.

    Args:
        history: Rows of metrics; a method that can collapse reports ``std`` and
            ``effective_rank`` (:func:`unfused.losses.collapse.embedding_health`).
        n_clips: Clips per batch.

    Returns:
        Whether the last row says so.
    """
    if n_clips < MIN_CLIPS or not {"std", "effective_rank"} <= set(history.columns):
        return False
    last = history[["std", "effective_rank"]].iloc[-1].fillna(float("inf"))
    std, rank = float(last["std"]), float(last["effective_rank"])
    collapsed = std < MIN_STD or rank < MIN_EFFECTIVE_RANK
    if collapsed:
        log.warning(
            "the embedding has collapsed: std %.3g, effective rank %.3g at the end of training, so "
            "it hardly tells clips apart. Train with a lower learning_rate, a larger batch_size or "
            "weaker views. (With only two classes to tell apart a rank near 1 is expected.)",
            std,
            rank,
        )
    return collapsed
