"""Single-label classification metrics, all functions of three counts per class.

Notation: C classes; for each class the ``hits`` (predicted and true), ``support`` (true) and
``predicted`` counts, with any leading axes: a bootstrap computes thousands of them at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UserError


class Counts(NamedTuple):
    """Counts per class, each (..., C) float64."""

    hits: NDArray[np.float64]
    support: NDArray[np.float64]
    predicted: NDArray[np.float64]


Metric = Callable[[Counts], NDArray[np.float64]]


def encode(*columns: ArrayLike) -> tuple[NDArray[np.str_], list[NDArray[np.int64]]]:
    """Return the sorted class names of some label columns and each column as class numbers.

    Raises:
        ValueError: The columns are empty, differ in length or hold missing labels.
    """
    arrays = [np.asarray(column, dtype=object) for column in columns]
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1 or lengths == {0}:
        raise UserError(
            f"label columns have lengths {[len(array) for array in arrays]}; "
            "give one label and one prediction for each of at least one clip"
        )
    if any(pd.isna(array).any() for array in arrays):
        raise UserError("a label or prediction is missing; score labelled clips only")
    flat = np.concatenate([array.astype(str) for array in arrays])
    classes, codes = np.unique(flat, return_inverse=True)
    return classes, list(codes.astype(np.int64).reshape(len(arrays), -1))


def count(labels: ArrayLike, predicted: ArrayLike) -> Counts:
    """Return the counts of each class that occurs in either column, (C,)."""
    classes, (true, guess) = encode(labels, predicted)
    n = len(classes)
    return Counts(
        np.bincount(true[true == guess], minlength=n).astype(float),
        np.bincount(true, minlength=n).astype(float),
        np.bincount(guess, minlength=n).astype(float),
    )


def accuracy_of(counts: Counts) -> NDArray[np.float64]:
    """Return the share of clips predicted right, (...)."""
    return _ratio(counts.hits.sum(-1), counts.support.sum(-1))


def balanced_accuracy_of(counts: Counts) -> NDArray[np.float64]:
    """Return the mean recall over the classes that have clips, (...)."""
    recall = _ratio(counts.hits, counts.support)
    return _mean_of_known(recall)


def macro_f1_of(counts: Counts) -> NDArray[np.float64]:
    """Return the mean F1 over the classes that occur as label or as prediction, (...)."""
    return _mean_of_known(_ratio(2 * counts.hits, counts.support + counts.predicted))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy_of,
    "balanced_accuracy": balanced_accuracy_of,
    "macro_f1": macro_f1_of,
}


def metric_named(name: str) -> Metric:
    """Return the metric called ``name``.

    Raises:
        ValueError: There is no such metric.
    """
    if name not in METRICS:
        raise UserError(f"metric={name!r} is unknown; choose from {list(METRICS)}")
    return METRICS[name]


def accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Return the share of clips predicted right.

    >>> accuracy(["a", "a", "b"], ["a", "b", "b"]) == 2 / 3
    True
    """
    return float(accuracy_of(count(labels, predicted)))


def balanced_accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean recall over the classes among ``labels``.

    >>> balanced_accuracy(["a", "a", "b"], ["a", "b", "b"])
    0.75
    """
    return float(balanced_accuracy_of(count(labels, predicted)))


def macro_f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean F1 over the classes among ``labels`` and ``predicted``."""
    return float(macro_f1_of(count(labels, predicted)))


def confusion(labels: ArrayLike, predicted: ArrayLike) -> pd.DataFrame:
    """Return the confusion counts: a row for each true class, a column for each predicted one."""
    classes, (true, guess) = encode(labels, predicted)
    n = len(classes)
    table = np.bincount(true * n + guess, minlength=n * n).reshape(n, n)
    return pd.DataFrame(
        table, index=pd.Index(classes, name="label"), columns=pd.Index(classes, name="predicted")
    )


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(-1), known.sum(-1).astype(float))
