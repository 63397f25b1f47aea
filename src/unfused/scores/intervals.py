"""95 % intervals: over clips by the bootstrap, over seeds by Student's t; paired differences.

The unit that is resampled is the group (speaker, recording) where one is given, because clips of
one group are not independent. Intervals are percentiles of the resamples, widened for few units as
in Hesterberg 2015 ("What teachers should know about the bootstrap", The American Statistician
69(4), the "expanded percentile" interval); with many units this is the plain percentile interval.
Resamples of a few groups never leave the range of those groups (2 speakers who happen to score the
same would look certain), so below 10 units the interval is Student's t with the bootstrap's
standard error. Where every prediction is right, or every one wrong, resamples are all the same; the
interval there is that of Clopper and Pearson 1934 over the units. So it is where two models differ
on no unit: it then bounds the share of units on which they would, for better or worse.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..core.errors import UserError
from .bootstrap import UnitCounts
from .metrics import metric_named
from .ranking import RANKING_METRICS
from .ranking_bootstrap import RankedRuns, is_ranked, ranked_runs

log = logging.getLogger(__name__)
_FEW = 10  # units; simulated coverage of percentiles is 0.77 at 3 and 0.93 at 8, of t 0.95 and 0.94


class Interval(NamedTuple):
    """Lower and upper end of an interval; NaN where one unit tells nothing."""

    low: float
    high: float


class Difference(NamedTuple):
    """A paired difference (first minus second), its interval and two-sided p-value.

    ``in_no_resample`` tells that no resample of the clips made any difference.
    """

    difference: float
    low: float
    high: float
    p_value: float
    in_no_resample: bool = False


def seed_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Return Student's t-interval of the mean over independent seeds.

    Raises:
        ValueError: Fewer than 3 seeds; report the clip bootstrap instead.
    """
    sample = np.asarray(values, dtype=float)
    if len(sample) < 3:
        raise UserError(
            f"a t-interval needs at least 3 seeds, got {len(sample)}; use clip_bootstrap and say so"
        )
    half = stats.t.ppf(0.5 + level / 2, len(sample) - 1) * sample.std(ddof=1) / len(sample) ** 0.5
    return Interval(float(sample.mean() - half), float(sample.mean() + half))


def clip_bootstrap(
    labels: ArrayLike,
    predicted: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    runs: ArrayLike | None = None,
    metric: str = "accuracy",
    n: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the bootstrap interval of a metric over test clips.

    Args:
        labels: True labels, (N,).
        predicted: Predicted labels, (N,).
        groups: What is resampled as a whole: speaker or recording, or the clip id where several
            runs predicted the same clips, (N,). None: each row on its own.
        runs: The run (seed, fold) of each row, (N,); the metric is the mean over runs.
        metric: A name in ``METRICS``.
        n: Number of resamples.
        level: Coverage aimed at.
        seed: Seed of the resampling.

    Returns:
        The interval; NaN when there is a single group, which says nothing about other groups.

    Raises:
        ValueError: Unknown metric, missing labels or columns of different lengths.
    """
    function = metric_named(metric)
    counts = UnitCounts.of(labels, [predicted], groups, runs)
    if counts.n_units < 2:
        log.warning("one group among the test clips: no interval can be estimated")
        return Interval(np.nan, np.nan)
    share_right = float(counts.observed(metric_named("accuracy"))[0])
    if share_right in (0.0, 1.0):
        return _unanimous(bool(share_right), counts.n_units, level)
    draws = counts.resampled(function, n, seed)[:, 0]
    low, high = _bounds(float(counts.observed(function)[0]), draws, counts.n_units, level)
    return Interval(max(low, 0.0), min(high, 1.0))


def ranking_interval(
    runs: RankedRuns, metric: str, *, n: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return the bootstrap interval of one model's multi-label metric over test clips.

    Args:
        runs: Scores of one model.
        metric: A name in ``RANKING_METRICS``.
        n: Number of resamples.
        level: Coverage aimed at.
        seed: Seed of the resampling.
    """
    function = RANKING_METRICS[metric]
    if runs.n_units < 2:
        log.warning("one group among the test clips: no interval can be estimated")
        return Interval(np.nan, np.nan)
    draws = runs.resampled(function, n, seed)[:, 0]
    observed = float(runs.observed(function)[0])
    return Interval(*_bounds(observed, _unbiased(observed, draws), runs.n_units, level))


def _ranking_difference(
    runs: RankedRuns, metric: str, n: int, level: float, seed: int
) -> Difference:
    """Return how much better the first model of ``runs`` is than the second."""
    function = RANKING_METRICS[metric]
    first, second = runs.observed(function)
    observed = float(first - second)
    if runs.n_units < 2:
        log.warning("one group among the test clips: no interval can be estimated")
        return Difference(observed, np.nan, np.nan, np.nan)
    values = runs.resampled(function, n, seed)
    draws = values[:, 0] - values[:, 1]
    known = draws[np.isfinite(draws)]
    if len(known) and not known.any():
        return _no_difference(runs.n_units, level)
    draws = _unbiased(observed, draws)
    low, high = _bounds(observed, draws, runs.n_units, level)
    return Difference(observed, low, high, _p_value(observed, draws, runs.n_units))


def _unbiased(observed: float, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return resamples shifted so that their mean is what was observed.

    A clip drawn twice ranks beside itself, which flatters average precision: uncorrected, most of
    an interval would lie above the score.
    """
    known = draws[np.isfinite(draws)]
    return known - known.mean() + observed


def paired_bootstrap(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    metric: str = "accuracy",
    n: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Return how much better ``first`` is than ``second`` on the same clips.

    Args:
        first: Prediction rows with ``clip_id``, ``label``, ``predicted`` and, where there are any,
            ``group``, ``seed`` and ``fold``.
        second: The other prediction rows, for the same clips, seeds and folds.
        metric: A name in ``METRICS``; for multi-label predictions one in ``RANKING_METRICS``.
        n: Number of resamples.
        level: Coverage of the interval.
        seed: Seed of the resampling.

    Returns:
        The difference; its p-value is the level at which the interval just touches 0. Where no
        resample makes a difference, see :attr:`Difference.in_no_resample`, the interval is that of
        the share of units on which the two would differ: no resample could show its width.

    Raises:
        ValueError: The tables are not about the same clips and runs, or disagree on labels.
    """
    pairs = _matched(first, second)
    if is_ranked(first):
        other = pairs.assign(scores=pairs["scores_second"], classes=pairs["classes_second"])
        return _ranking_difference(
            ranked_runs(resampling_units(pairs), pairs, other), metric, n, level, seed
        )
    function = metric_named(metric)
    predicted = [pairs["predicted"], pairs["predicted_second"]]
    counts = UnitCounts.of(pairs["label"], predicted, resampling_units(pairs), run_names(pairs))
    value, other = counts.observed(function)
    observed = float(value - other)
    if counts.n_units < 2:
        log.warning("one group among the test clips: no interval can be estimated")
        return Difference(observed, np.nan, np.nan, np.nan)
    values = counts.resampled(function, n, seed)
    draws = values[:, 0] - values[:, 1]
    if not draws.any():
        return _no_difference(counts.n_units, level)
    low, high = _bounds(observed, draws, counts.n_units, level)
    p_value = _p_value(observed, draws, counts.n_units)
    return Difference(observed, max(low, -1.0), min(high, 1.0), p_value)


def resampling_units(predictions: pd.DataFrame) -> NDArray[np.object_]:
    """Return what to resample for each prediction row: its group, or else its clip, (N,)."""
    clips = "clip " + predictions["clip_id"].astype(str)
    if "group" not in predictions:
        return clips.to_numpy(object)
    group = predictions["group"]
    known = group.notna() & (group.astype(str) != "")
    return ("group " + group.astype(str)).where(known, clips).to_numpy(object)


def run_names(predictions: pd.DataFrame) -> NDArray[np.object_]:
    """Return the run (seed and fold) of each prediction row, (N,)."""
    names = pd.Series("", index=predictions.index)
    for column in ("seed", "fold"):
        if column in predictions:
            names = names + "/" + predictions[column].astype(str)
    return names.to_numpy(object)


def _unanimous(right: bool, n_units: int, level: float) -> Interval:
    """Return the exact binomial interval where all units are right, or all are wrong.

    >>> [round(end, 3) for end in _unanimous(True, 50, 0.95)]
    [0.929, 1.0]
    """
    least = ((1 - level) / 2) ** (1 / n_units)
    return Interval(least, 1.0) if right else Interval(0.0, 1 - least)


def _no_difference(n_units: int, level: float) -> Difference:
    """Return the difference of two models that differ on none of so many units.

    >>> [round(value, 3) for value in _no_difference(50, 0.95)[:3]]
    [0.0, -0.071, 0.071]
    """
    most = _unanimous(False, n_units, level).high
    return Difference(0.0, -most, most, 1.0, in_no_resample=True)


def _widening(n_units: int) -> float:
    return (n_units / (n_units - 1)) ** 0.5


def _bounds(
    observed: float, draws: NDArray[np.float64], n_units: int, level: float
) -> tuple[float, float]:
    quantile = stats.t.ppf(0.5 + level / 2, n_units - 1) * _widening(n_units)
    if n_units < _FEW:
        half = quantile * draws.std()
        return float(observed - half), float(observed + half)
    tail = stats.norm.cdf(-quantile)
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def _p_value(observed: float, draws: NDArray[np.float64], n_units: int) -> float:
    """Return the two-sided p-value: 1 - the level at which the interval just touches 0."""
    least = 1 / (len(draws) + 1)
    if n_units < _FEW:
        error = draws.std() * _widening(n_units)
        if error == 0:
            return 1.0 if observed == 0 else least
        return max(least, float(2 * stats.t.sf(abs(observed) / error, n_units - 1)))
    tail = (1 + min((draws <= 0).sum(), (draws >= 0).sum())) * least
    if tail >= 0.5:
        return 1.0
    return float(2 * stats.t.cdf(stats.norm.ppf(tail) / _widening(n_units), n_units - 1))


def _matched(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    keys = [name for name in ("seed", "fold", "clip_id") if name in first and name in second]
    scores = [name for name in ("classes", "scores") if name in second]
    other = second[[*keys, "label", "predicted", *scores]]
    pairs = first.merge(
        other, on=keys, how="outer", suffixes=("", "_second"), validate="1:1", indicator=True
    )
    alone = pairs[pairs["_merge"] != "both"]
    if len(alone):
        raise UserError(
            f"{len(alone)} predictions stand in one table only, such as clip "
            f"{alone['clip_id'].iloc[0]}; compare encoders on the same clips, seeds and folds"
        )
    if (pairs["label"].astype(str) != pairs["label_second"].astype(str)).any():
        raise UserError("the two tables disagree on the labels of some clips; evaluate both anew")
    return pairs
