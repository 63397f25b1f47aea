"""Many encoders on many tasks: mean, average rank, and comparisons that know how many they are.

Demsar 2006 ("Statistical comparisons of classifiers over multiple data sets", JMLR 7): ranks are
averaged over tasks; two encoders differ over all tasks if their average ranks are further apart
than Nemenyi's critical difference. On one task two encoders differ by the paired bootstrap; over
all pairs and tasks its p-values are corrected by Holm's step-down procedure.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, studentized_range

from ..core.progress import progress
from .aggregate import KEY, checked_predictions, scored_by
from .comparisons import SAME, compare
from .naming import TEACHER_SOURCES, encoder_name

ENCODER = ["encoder", "source", "cut"]


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values corrected for their number (Holm 1979); NaN stays and is not counted.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, float)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = values[order] * np.arange(len(order), 0, -1)
    corrected = np.full(len(values), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def critical_difference(n_encoders: int, n_tasks: int, *, level: float = 0.05) -> float:
    """Return Nemenyi's critical difference of average ranks.

    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    quantile = studentized_range.ppf(1 - level, n_encoders, np.inf) / 2**0.5
    return float(quantile * (n_encoders * (n_encoders + 1) / (6 * n_tasks)) ** 0.5)


def own_cuts(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of every encoder at its own, last cut; controls are left out."""
    rows = summary[summary["source"].isin(TEACHER_SOURCES)]
    size = pd.to_numeric(rows["parameters"], errors="coerce").fillna(0)
    largest = size.groupby([rows["encoder"], rows["source"], rows["protocol"]]).transform("max")
    return rows[size == largest]


def rank_encoders(
    summary: pd.DataFrame, *, metric: str = "accuracy", protocol: str = "linear_probe"
) -> pd.DataFrame:
    """Return mean score and average rank of every encoder over the tasks that all of them have.

    Args:
        summary: Rows of :func:`~unfused.reporting.aggregate.summarise`.
        metric: Metric of single-label tasks; of multi-label ones what takes its place.
        protocol: Which protocol.

    Returns:
        ``name, encoder, source, cut, mean, average_rank, n_tasks``, the best rank first; encoders
        that lack a task are left out. Empty without rows.
    """
    rows = own_cuts(summary[summary["protocol"] == protocol])
    if rows.empty:
        return pd.DataFrame()
    rows = scored_by(rows, metric)
    table = rows.pivot_table(index=["name", *ENCODER], columns="task", values="mean")
    table = table.dropna()
    ranks = np.apply_along_axis(lambda column: rankdata(-column), 0, table.to_numpy().round(6))
    found = table.index.to_frame(index=False).assign(
        mean=table.mean(axis=1).to_numpy(), average_rank=ranks.mean(axis=1), n_tasks=table.shape[1]
    )
    return found.sort_values(["average_rank", "name"], ignore_index=True)


def compare_methods(
    summary: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    protocol: str = "linear_probe",
    teacher: str | None = None,
    n_draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare every pair of encoders, each at its own cut, on every task.

    Args:
        summary: Rows of :func:`~unfused.reporting.aggregate.summarise`, for the cuts.
        predictions: Prediction rows.
        protocol: Which protocol.
        teacher: Method that made the student's pseudo-labels, for the names.
        n_draws: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Returns:
        ``task, name_a, name_b``, what :func:`~unfused.reporting.comparisons.compare` returns,
        ``p_holm`` (corrected over all rows) and ``outcome_holm``.
    """
    chosen = own_cuts(summary[summary["protocol"] == protocol])[KEY].drop_duplicates()
    predictions = checked_predictions(predictions)
    parts = dict(list(predictions.groupby(KEY, sort=False)))
    keys = [key for key in chosen.itertuples(index=False, name=None) if key in parts]
    rows = []
    pairs = list(combinations(keys, 2))
    for key_a, key_b in progress(pairs, total=len(pairs), desc="comparisons", unit="pair"):
        if key_a[0] == key_b[0]:
            names = [encoder_name(key[1], key[2], teacher=teacher) for key in (key_a, key_b)]
            found = compare(parts[key_a], parts[key_b], n_draws=n_draws, seed=seed)
            rows.append({"task": key_a[0], "name_a": names[0], "name_b": names[1], **found})
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows)
    table["p_holm"] = holm(table["p_value"])
    table["outcome_holm"] = np.where(table["p_holm"] < 0.05, table["outcome"], SAME)
    return table
