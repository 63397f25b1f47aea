"""Multi-label metrics, which rank clips by score class by class; weighted, so bootstraps are cheap.

Notation: N clips, C classes, W sets of clip weights (all ones, or how often each clip was drawn).
AudioSet's three metrics (Gemmeke et al. 2017; Hershey et al. 2017, arXiv 1609.09430, section 4):
mean average precision, mean area under the ROC curve, and d-prime of the latter.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]
RankingMetric = Callable[[NDArray, NDArray, NDArray], Floats]


def average_precision(scores: NDArray, hits: NDArray, weights: NDArray) -> Floats:
    """Return the average precision of one class, as scikit-learn defines it.

    ``sum_k (R_k - R_{k-1}) P_k`` over the distinct thresholds, from high to low.

    Args:
        scores: Score of each clip, (N,).
        hits: Whether it has the class, (N,) bool.
        weights: Clip weights, (W, N).

    Returns:
        (W,); NaN where no clip of weight has the class.
    """
    true, total = _cumulated(scores, hits, weights)
    precision = np.divide(true, total, out=np.zeros_like(true), where=total > 0)
    steps = np.diff(true, axis=1, prepend=0.0)
    return _ratio((steps * precision).sum(axis=1), true[:, -1])


def roc_auc(scores: NDArray, hits: NDArray, weights: NDArray) -> Floats:
    """Return the area under the ROC curve of one class; arguments as in :func:`average_precision`.

    Returns:
        (W,); NaN where all clips of weight have the class, or none has.
    """
    true, total = _cumulated(scores, hits, weights)
    false = total - true
    before = np.pad(true, ((0, 0), (1, 0)))[:, :-1]
    area = (np.diff(false, axis=1, prepend=0.0) * (before + true) / 2).sum(axis=1)
    return _ratio(area, true[:, -1] * false[:, -1])


def mean_over_classes(
    curve: RankingMetric, scores: NDArray, hits: NDArray, weights: NDArray
) -> Floats:
    """Return the mean of a per-class metric over the classes where it is defined.

    Args:
        curve: :func:`average_precision` or :func:`roc_auc`.
        scores: (N, C).
        hits: (N, C) bool.
        weights: (W, N).

    Returns:
        (W,); NaN where it is defined for no class.
    """
    per_class = np.stack([curve(scores[:, c], hits[:, c], weights) for c in range(scores.shape[1])])
    known = ~np.isnan(per_class)
    return _ratio(np.where(known, per_class, 0.0).sum(axis=0), known.sum(axis=0).astype(float))


def mean_average_precision(scores: NDArray, hits: NDArray, weights: NDArray) -> Floats:
    """Return mAP, (W,); see :func:`mean_over_classes`."""
    return mean_over_classes(average_precision, scores, hits, weights)


def mean_auc(scores: NDArray, hits: NDArray, weights: NDArray) -> Floats:
    """Return the mean area under the ROC curve, (W,)."""
    return mean_over_classes(roc_auc, scores, hits, weights)


def d_prime(scores: NDArray, hits: NDArray, weights: NDArray) -> Floats:
    """Return ``sqrt(2) * Phi^-1(mean AUC)``, (W,); infinite at a mean AUC of 1."""
    return np.asarray(np.sqrt(2) * norm.ppf(mean_auc(scores, hits, weights)), float)


RANKING_METRICS: dict[str, RankingMetric] = {
    "mAP": mean_average_precision,
    "auc": mean_auc,
    "d_prime": d_prime,
}


def _cumulated(scores: NDArray, hits: NDArray, weights: NDArray) -> tuple[Floats, Floats]:
    """Return the weight of hits and of all clips at or above each distinct score, (W, T) each."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    sorted_weights = np.asarray(weights, float)[:, order]
    true = np.cumsum(sorted_weights * hits[order], axis=1)[:, last]
    return true, np.cumsum(sorted_weights, axis=1)[:, last]


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
