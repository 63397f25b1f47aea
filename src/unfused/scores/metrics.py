"""Metrics of predictions in which rows can have weights, so that a bootstrap is one more argument.

Notation: N rows, C classes, W sets of row weights: one set of ones gives the score, the others say
how often a resample drew each row. The values are scikit-learn's (tested), whose functions take one
set of weights at a time and would need minutes for what takes a second here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import ndtri

from ..core.errors import UserError
from ..data.label_sets import label_counts, multi_hot, split_labels

SINGLE_LABEL_METRICS = ("accuracy", "balanced_accuracy", "macro_f1")
MULTI_LABEL_METRICS = ("mAP", "auc", "d_prime")
METRICS = (*SINGLE_LABEL_METRICS, *MULTI_LABEL_METRICS)
IN_ITS_PLACE = dict(zip(SINGLE_LABEL_METRICS, MULTI_LABEL_METRICS, strict=True))
"""What takes a metric's place where a clip has several labels."""


def is_ranked(predictions: pd.DataFrame) -> bool:
    """Return whether prediction rows are those of a task with several labels a clip."""
    return "scores" in predictions and bool(predictions["scores"].notna().all())


def metrics_of(predictions: pd.DataFrame) -> tuple[str, ...]:
    """Return the metrics that prediction rows give, the main one first."""
    return MULTI_LABEL_METRICS if is_ranked(predictions) else SINGLE_LABEL_METRICS


def metric_for(predictions: pd.DataFrame, metric: str) -> str:
    """Return the metric, or what takes its place where a clip has several labels.

    Raises:
        UserError: There is no such metric, or it needs the scores of several labels.
    """
    if metric not in METRICS:
        raise UserError(f"metric={metric!r} is unknown; choose from {list(METRICS)}")
    if is_ranked(predictions):
        return IN_ITS_PLACE.get(metric, metric)
    if metric in MULTI_LABEL_METRICS:
        raise UserError(
            f"metric={metric!r} ranks clips with several labels; for these predictions choose "
            f"from {list(SINGLE_LABEL_METRICS)}"
        )
    return metric


def score(predictions: pd.DataFrame, metric: str) -> float:
    """Return a metric, one of :data:`METRICS`, of the predictions of one training.

    Columns are ``label, predicted``; with several labels a clip ``label, classes, scores`` and,
    where there are any, ``fold``: scores of different classifiers cannot be ranked together, so
    folds are averaged.

    >>> rows = pd.DataFrame({"label": ["a", "a", "b"], "predicted": ["a", "b", "b"]})
    >>> score(rows, "balanced_accuracy")
    0.75
    """
    return float(scorer(predictions, metric)(np.ones((1, len(predictions))))[0])


def scorer(predictions: pd.DataFrame, metric: str) -> Callable[[NDArray], NDArray]:
    """Return the function from row weights, (W, N), to :func:`score` with each of them, (W,).

    Raises:
        UserError: A label is missing or a score is not finite.
    """
    if predictions[["label", "predicted"]].isna().any(axis=None) or predictions.empty:
        raise UserError("a label or prediction is missing; score one labelled clip or more")
    name = metric_for(predictions, metric)
    if name in SINGLE_LABEL_METRICS:
        return _of_counts(predictions, name)
    folds = predictions["fold"] if "fold" in predictions else pd.Series(0, predictions.index)
    rows = [np.flatnonzero(folds == fold) for fold in folds.unique()]
    parts = [_of_ranks(predictions.iloc[chosen], name) for chosen in rows]

    def averaged(weights: NDArray) -> NDArray:
        values = [part(weights[:, chosen]) for part, chosen in zip(parts, rows, strict=True)]
        return _mean_of_known(np.stack(values, axis=1))

    return averaged


def calibration_error(probability: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error (Naeini et al., AAAI 2015), ten bins of equal counts.

    The mean distance between how likely predicted classes seemed, (N,), and how many were right.
    """
    order = np.argsort(probability, kind="stable")
    bins = np.array_split(order, min(10, len(order)))
    gaps = [len(rows) * abs(probability[rows].mean() - right[rows].mean()) for rows in bins]
    return float(sum(gaps) / len(order))


def _of_counts(predictions: pd.DataFrame, metric: str) -> Callable[[NDArray], NDArray]:
    columns = predictions["label"].astype(str), predictions["predicted"].astype(str)
    classes, codes = np.unique(np.concatenate(columns), return_inverse=True)
    true, guess = codes.reshape(2, -1)
    one_hot = np.eye(len(classes), dtype=np.float32)
    right = one_hot[true] * (true == guess)[:, None]

    def of_weights(weights: NDArray) -> NDArray:
        given, parts = weights.astype(np.float32), (right, one_hot[true], one_hot[guess])
        hits, support, predicted = ((given @ part).astype(float) for part in parts)
        if metric == "accuracy":
            return _ratio(hits.sum(1), support.sum(1))
        if metric == "balanced_accuracy":  # mean recall over the classes that have clips
            return _mean_of_known(_ratio(hits, support))
        return _mean_of_known(_ratio(2 * hits, support + predicted))

    return of_weights


def _of_ranks(predictions: pd.DataFrame, metric: str) -> Callable[[NDArray], NDArray]:
    """Return the scorer of one classifier's scores; a class that it does not know scores lowest."""
    known, labels = split_labels(str(predictions["classes"].iloc[0])), predictions["label"]
    given = np.stack(predictions["scores"].to_numpy()).astype(float)
    if not np.isfinite(given).all():
        raise UserError("some scores are not finite; the encoder or the probe has diverged")
    unknown = sorted(set(label_counts(labels)) - set(known))
    hits = multi_hot(labels, names := known + unknown)
    scores = np.pad(given, ((0, 0), (0, len(unknown))), constant_values=np.finfo(float).min)
    of_class = _average_precision if metric == "mAP" else _roc_auc

    def of_weights(weights: NDArray) -> NDArray:
        times = np.ascontiguousarray(weights.T, np.float32)  # whole numbers, so exact
        per_class = [of_class(scores[:, c], hits[:, c], times) for c in range(len(names))]
        mean = _mean_of_known(np.stack(per_class, axis=1))
        return 2**0.5 * ndtri(mean) if metric == "d_prime" else mean

    return of_weights


def _average_precision(scores: NDArray, hits: NDArray, weights: NDArray) -> NDArray:
    levels, of_hit = np.unique(-scores[hits], return_inverse=True)
    found = _summed(of_hit, weights[hits], len(levels))
    true, so_far = np.cumsum(found, axis=0), np.searchsorted(levels, -scores)
    total = np.cumsum(_summed(so_far, weights, len(levels)), axis=0)  # at or above each level
    return _ratio((found * _ratio(true, total, 0.0)).sum(0), weights[hits].sum(0))


def _roc_auc(scores: NDArray, hits: NDArray, weights: NDArray) -> NDArray:
    levels, of_hit = np.unique(scores[hits], return_inverse=True)
    first, after = (np.searchsorted(levels, scores, side) for side in ("left", "right"))
    tied = np.flatnonzero(first < after)
    below = np.cumsum(_summed(after, weights, len(levels)), axis=0, dtype=float)
    below += _summed(first[tied], weights[tied], len(levels)) / 2
    found = _summed(of_hit, weights[hits], len(levels))
    n_hits, n = weights[hits].sum(0, dtype=float), weights.sum(0, dtype=float)
    above_others = (found * below).sum(0) - n_hits**2 / 2  # less the pairs of two hits
    return _ratio(above_others, n_hits * (n - n_hits))


def _summed(level: NDArray, weights: NDArray, n_levels: int) -> NDArray:
    """Return the sum of the weights of each level's rows, (n_levels, W).

    A level is a distinct score of a hit; rows beyond the last one count for none.
    """
    one = np.ones(len(level), weights.dtype), (level, np.arange(len(level)))
    return (csr_array(one, shape=(n_levels + 1, len(level))) @ weights)[:n_levels]


def _ratio(part: NDArray, whole: NDArray, nothing: float = np.nan) -> NDArray:
    out = np.full(np.shape(whole), nothing)
    return np.divide(part, whole, out=out, where=whole > 0, dtype=float)


def _mean_of_known(values: NDArray) -> NDArray:
    """Return the mean over the last axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(-1), known.sum(-1))
