"""Folds inside the training part, for choosing a setting where there are no validation clips."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UserError
from ..core.seeding import numpy_generator


def inner_folds(
    labels: ArrayLike, groups: ArrayLike | None = None, *, n_folds: int = 5, seed: int = 0
) -> NDArray[np.int64]:
    """Deal clips to folds so that each class is spread evenly and no group is split.

    The largest groups are dealt first, each to the fold where its classes are rarest so far.

    Args:
        labels: Class of each clip, (N,).
        groups: Speaker or recording of each clip, (N,); a missing one stands for itself.
        n_folds: Number of folds at most; there are never more folds than groups.
        seed: Seed that decides between equally good folds.

    Returns:
        Fold of each clip, 0 to ``n_folds - 1``, (N,).

    >>> sorted(inner_folds(list("aaabbb"), n_folds=3).tolist())
    [0, 0, 1, 1, 2, 2]
    """
    codes = np.unique(np.asarray(labels), return_inverse=True)[1]
    units = _units(groups, len(codes))
    counts = np.zeros((units.max() + 1, codes.max() + 1))
    np.add.at(counts, (units, codes), 1)
    shares = counts / counts.sum(0)  # of each class, in each group
    sizes = counts.sum(1) / len(codes)
    totals = np.zeros((min(n_folds, len(counts)), counts.shape[1]))
    lengths = np.zeros(len(totals))
    fold = np.zeros(len(counts), np.int64)
    order = numpy_generator(seed, "inner folds").permutation(len(counts))
    for unit in order[np.argsort(-sizes[order], kind="stable")]:
        imbalance = ((totals + shares[unit]) ** 2 - totals**2).sum(1) + 1e-3 * lengths
        fold[unit] = best = imbalance.argmin()
        totals[best] += shares[unit]
        lengths[best] += sizes[unit]
    return fold[units]


def _units(groups: ArrayLike | None, n: int) -> NDArray[np.int64]:
    if groups is None:
        return np.arange(n)
    names = pd.Series(np.asarray(groups, dtype=object))
    if len(names) != n:
        raise UserError(f"groups has {len(names)} entries for {n} clips; give one for each clip")
    known = names.notna() & (names.astype(str) != "")
    keys = names.astype(str).where(known, [f"\0{i}" for i in range(n)])
    return np.unique(keys.to_numpy(str), return_inverse=True)[1].astype(np.int64)
