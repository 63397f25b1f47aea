"""Telling the user when embeddings no longer tell clips apart."""

from __future__ import annotations

import logging

import pandas as pd

log = logging.getLogger(__name__)
MIN_STD = 0.01
MIN_EFFECTIVE_RANK = 1.5  # a participation ratio: 1 is a line; short runs that learn stay above 2
MIN_CLUSTER_PERPLEXITY = 1.5  # below, nearly all clips are in one cluster
MAX_QUEUE_SIMILARITY = 0.99
"""Mean cosine m of new keys with old ones of other clips.

Unit vectors with this mean cosine have a spread of sqrt(1 - m), here 0.1, around their mean, and at
the papers' temperature of 0.07 negatives' logits are only (1 - m) / 0.07 = 0.14 below the largest
there is: the loss hardly tells them from the positive. A wider cone of keys is no collapse.
"""
MIN_CLIPS = 16  # fewer clips span too few directions to judge by

_LIMITS = {  # metric: its lowest and highest value in order, and what a value outside means
    "std": (MIN_STD, float("inf"), "all embeddings are one point"),
    "effective_rank": (MIN_EFFECTIVE_RANK, float("inf"), "all embeddings lie on one line"),
    "cluster_perplexity": (MIN_CLUSTER_PERPLEXITY, float("inf"), "all clips are in one cluster"),
    "queue_similarity": (-float("inf"), MAX_QUEUE_SIMILARITY, "all keys point one way"),
}


def signs_of_collapse(history: pd.DataFrame, n_clips: int) -> list[str]:
    """Return in words what shows at the end of a run that its embedding has collapsed.

    Args:
        history: Rows of metrics. Judged are, where they are there, ``std`` and ``effective_rank``
            (:func:`unfused.losses.collapse.embedding_health`), ``cluster_perplexity`` and
            ``queue_similarity``, each by its last value.
        n_clips: Clips per batch; of fewer than 16 nothing is said.
    """
    signs = []
    for name, (low, high, meaning) in _LIMITS.items():
        if name not in history or n_clips < MIN_CLIPS or history[name].isna().all():
            continue
        value = float(history[name].dropna().iloc[-1])
        if not low <= value <= high:
            signs.append(f"{name.replace('_', ' ')} {value:.3g} ({meaning})")
    return signs


def warn_of_collapse(signs: list[str]) -> None:
    """Log a warning with the remedy if there are signs of collapse."""
    if signs:
        log.warning(
            "the embedding has collapsed: %s at the end of training, so it hardly tells clips "
            "apart. Train with a lower learning_rate, a larger batch_size or weaker views. (With "
            "only two classes to tell apart a rank near 1 is expected.)",
            ", ".join(signs),
        )
