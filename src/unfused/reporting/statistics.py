"""How sure a score, a difference or a mean over tasks is: the few calls that reports make.

One seed is one pre-training, clustering and student; its folds are pooled before scoring, so every
clip counts once. With three seeds or more the interval is Student's t over seeds; below that, or
where nothing depends on the seed, it is over test clips or groups of them (:mod:`unfused.scores`),
which says nothing about another training run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..core.errors import UserError
from ..scores import intervals
from ..scores.metrics import METRICS, count
from ..scores.ranking import RANKING_METRICS
from ..scores.ranking_bootstrap import is_ranked, ranked_runs

_FEW = 10  # below so many units, intervals over units are Student's t


class Interval(NamedTuple):
    """A score, a difference or a mean, with its 95 % interval; ``text`` says which.

    Ends are NaN where there is no interval; ``p_value`` is two-sided, that of no difference.
    """

    value: float
    low: float
    high: float
    text: str
    n_seeds: int
    p_value: float = np.nan


def metrics_of(predictions: pd.DataFrame) -> tuple[str, ...]:
    """Return the metrics that prediction rows give, the main one first."""
    return tuple(RANKING_METRICS if is_ranked(predictions) else METRICS)


def interval(predictions: pd.DataFrame, metric: str, *, n: int = 2000, seed: int = 0) -> Interval:
    """Return the score of one classifier on one task.

    Args:
        predictions: ``seed, fold, clip_id, label, predicted[, group]``.
        metric: One of :func:`metrics_of`.
        n: Bootstrap resamples.
        seed: Seed of the bootstrap.
    """
    values, units = _by_seed(predictions, metric), intervals.resampling_units(predictions)
    low, high, text = _over_seeds(values)
    if np.isnan(low):
        text = _over_units(units)
        if metric in RANKING_METRICS:
            runs = ranked_runs(units, predictions)
            low, high = intervals.ranking_interval(runs, metric, n=n, seed=seed)
        else:
            low, high = intervals.clip_bootstrap(
                predictions["label"], predictions["predicted"], units,
                runs=predictions["seed"], metric=metric, n=n, seed=seed,
            )  # fmt: skip
    if metric != "d_prime":
        low, high = np.clip([low, high], 0.0, 1.0)
    return Interval(float(values.mean()), float(low), float(high), text, len(values))


def difference(
    first: pd.DataFrame, second: pd.DataFrame, metric: str, *, n: int = 2000, seed: int = 0
) -> Interval:
    """Return how much better the first classifier is, on the clips and seeds that both have.

    From three seeds on, the p-value is the larger one of the tests over clips and over seeds.

    Args:
        first: Its predictions, as for :func:`interval`.
        second: Those of the other.
        metric: One of :func:`metrics_of`.
        n: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        UserError: They share no clip of the same seed.
    """
    rows = [pd.MultiIndex.from_frame(part[["seed", "clip_id"]]) for part in (first, second)]
    first, second = first[rows[0].isin(rows[1])], second[rows[1].isin(rows[0])]
    if first.empty:
        raise UserError("they share no test clip of one seed; evaluate both on one split")
    if not is_ranked(first):  # scores of several folds cannot be ranked together; labels can be
        first, second = (part.drop(columns="fold", errors="ignore") for part in (first, second))
    found = intervals.paired_bootstrap(first, second, metric=metric, n=n, seed=seed)
    values = _by_seed(first, metric) - _by_seed(second, metric)
    (low, high, text), p_value = _over_seeds(values), found.p_value
    if np.isnan(low):
        low, high, text = found.low, found.high, _over_units(intervals.resampling_units(first))
    else:
        p_value = max(p_value, float(stats.ttest_1samp(values, 0).pvalue))
    return Interval(float(values.mean()), low, high, text, len(values), p_value)


def mean_over_tasks(predictions: Mapping[str, pd.DataFrame], *, metric: str, n: int) -> Interval:
    """Return the mean over tasks; the interval is about other clips or seeds, not other tasks."""
    found = [interval(rows, metric, n=n) for rows in predictions.values()]
    half = float(np.sqrt(sum(((one.high - one.low) / 2) ** 2 for one in found))) / len(found)
    mean = float(np.mean([one.value for one in found]))
    text = "from the intervals of the tasks"
    return Interval(mean, mean - half, mean + half, text, min(one.n_seeds for one in found))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values corrected for their number (Holm 1979); NaN stays and is not counted.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, float)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    corrected = np.full(len(values), np.nan)
    steps = np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1))
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def _by_seed(predictions: pd.DataFrame, metric: str) -> NDArray[np.float64]:
    """Return one score per seed, (S,); with several labels a clip the mean over folds."""
    found = []
    for _, part in predictions.groupby("seed", sort=True):
        if metric in RANKING_METRICS:
            runs = ranked_runs(part["clip_id"], part)
            found.append(runs.observed(RANKING_METRICS[metric])[0])
        else:
            found.append(METRICS[metric](count(part["label"], part["predicted"])))
    return np.array(found, dtype=float)


def _over_seeds(values: NDArray[np.float64]) -> tuple[float, float, str]:
    """Return the t interval over seeds; NaN below three, or when nothing depends on the seed."""
    if len(values) < 3 or np.ptp(values) < 1e-12:
        return np.nan, np.nan, ""
    return *intervals.seed_interval(values.tolist()), f"t interval over {len(values)} seeds"


def _over_units(units: NDArray[np.object_]) -> str:
    """Return what an interval over units is called."""
    number = len(set(units))
    what = "groups" if any(unit.startswith("group ") for unit in units) else "clips"
    if number < 2:
        return "no interval: one group of clips"
    if number < _FEW:
        return f"t interval over {number} {what}"
    return "bootstrap over clips" if what == "clips" else f"bootstrap over {number} groups of clips"
