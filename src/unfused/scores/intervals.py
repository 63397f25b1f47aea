"""How sure a score, a difference or a mean over tasks is.

Two things vary: which clips are tested, and what a training with another seed would have given.
Clips of one speaker or recording vary together, so groups are resampled where they are known.

* The share of the **test clips** is the variance of a bootstrap over units (groups, else clips):
  each resample is scored anew, the mean over seeds. It is enlarged by n / (n - 1).
* The share of the **seeds**, from two on, is the variance of their scores over their number. With
  one seed the interval covers the choice of test clips only, and says so (``n_seeds`` is 1).

Both are added; Welch's and Satterthwaite's formula gives the degrees of freedom of the sum, and
Student's t the interval: of a score on the logit scale, which keeps it within 0 and 1 and covers
the truth near them, where percentiles of the resamples do not (simulated: a true .97 on 100 clips
in 97 % of trials instead of 90 %). P-values are of the same t, so no number of resamples limits
them. Where every resample scores the same, the interval is binomial over the units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import expit, logit

from ..core.errors import UserError
from ..core.seeding import numpy_generator
from .metrics import metric_for, scorer

RESAMPLES = 1000
LEVEL = 0.95
"""Coverage that intervals aim at."""
_NOTHING = 1e-12  # a variance that is rounding
_HELD_AT_ONCE = 5_000_000  # row weights in memory


@dataclass(frozen=True)
class Interval:
    """A score, a difference or a mean, with its interval.

    Attributes:
        value: The score itself.
        low: Lower end; NaN where one unit tells nothing about others.
        high: Upper end.
        kind: ``t`` (Student's, with the bootstrap's standard error), ``exact`` (binomial, where
            every resample scores the same) or ``none``.
        unit: ``groups`` or ``clips``: what was resampled.
        n_units: How many of them there are; of several tasks together.
        n_seeds: How many trainings the score is a mean of.
        standard_error: Of the value.
        p_value: Of no difference, two-sided; NaN where no difference was asked about.
    """

    value: float
    low: float
    high: float
    kind: str
    unit: str
    n_units: int
    n_seeds: int
    standard_error: float
    p_value: float = np.nan

    @property
    def text(self) -> str:
        """What the interval is, in words.

        >>> Interval(0.5, 0.4, 0.6, "t", "groups", 5, 3, 0.1).text
        "Student's t over 5 groups and 3 seeds"
        """
        names = {"t": "Student's t", "exact": "binomial", "none": "no interval"}
        unit = self.unit if self.n_units != 1 else self.unit.removesuffix("s")
        seeds = f" and {self.n_seeds} seeds" if self.n_seeds > 1 else ""
        return f"{names[self.kind]} over {self.n_units} {unit}{seeds}"


class _Sample(NamedTuple):
    """Scores of one model, or differences of two, on one task."""

    by_seed: pd.Series
    draws: NDArray[np.float64]  # of resampled units, mean over seeds
    n_units: int
    unit: str

    @property
    def variance(self) -> float:
        """Variance of the mean by the choice of units."""
        n, known = self.n_units, self.draws[~np.isnan(self.draws)]
        return float(known.var()) * n / (n - 1) if n > 1 and known.size else np.nan


@np.errstate(invalid="ignore")  # d-prime of a perfect ranking is infinite and has no interval
def interval(
    predictions: pd.DataFrame, metric: str = "accuracy", *, n: int = RESAMPLES
) -> Interval:
    """Return a model's score on one task with its interval, from ``n`` resamples.

    Columns are ``clip_id, label, predicted`` and, where there are any, ``group, seed, fold,
    classes, scores``; a seed's folds are pooled. The metric is one of
    :data:`~unfused.scores.metrics.METRICS`, or with several labels a clip what takes its place.
    """
    sample = _sample(predictions, metric, n)
    value, variance, df = _combined([sample])
    if variance < _NOTHING:
        return _interval([sample], _clopper_pearson(value, sample.n_units), "exact")
    if metric_for(predictions, metric) == "d_prime" or sample.n_units < 2:
        return _interval([sample], _student(value, variance, df))
    slope = 1 / (value * (1 - value))
    low, high = expit(_student(float(logit(value)), variance * slope**2, df))
    return _interval([sample], (float(low), float(high)))


@np.errstate(invalid="ignore")
def difference(
    first: pd.DataFrame, second: pd.DataFrame, metric: str = "accuracy", *, n: int = RESAMPLES
) -> Interval:
    """Return how much better ``first`` is than ``second`` on the same clips, unit by unit.

    The p-value is that of Student's t on the standard error of the paired difference, which is
    clustered by group; for the accuracy of one training each on clips without groups it is exact
    (McNemar 1947). Rows are those of :func:`interval`, and both meet the same resamples. Seeds that
    both have are paired; a model of a single seed is compared with every seed of the other.

    Raises:
        UserError: The two are not about the same clips, disagree on labels or share no seed.
    """
    pair = _matched(first, second)
    a, b = (_sample(rows, metric, n) for rows in pair)
    if 1 in (len(a.by_seed), len(b.by_seed)):
        longer = max(a.by_seed, b.by_seed, key=len)
        by_seed = pd.Series(np.subtract(*np.broadcast_arrays(a.by_seed, b.by_seed)), longer.index)
    else:
        by_seed = a.by_seed - b.by_seed
    sample = a._replace(by_seed=by_seed, draws=a.draws - b.draws)
    value, variance, df = _combined([sample])
    if variance < _NOTHING:
        most = _clopper_pearson(0.0, sample.n_units)[1]
        low, high = max(value - most, -1.0), min(value + most, 1.0)
        p_value = float(stats.binomtest(sample.n_units, sample.n_units).pvalue) if value else 1.0
        return _interval([sample], (low, high), "exact", p_value)
    low, high = _student(value, variance, df)
    name = metric_for(pair[0], metric)
    bounds = (low, high) if name == "d_prime" else (max(low, -1.0), min(high, 1.0))
    p_value = float(2 * stats.t.sf(abs(value) / variance**0.5, df))
    if name == "accuracy" and sample.unit == "clips" and len(a.by_seed) == len(b.by_seed) == 1:
        p_value = _mcnemar(*pair)
    return _interval([sample], bounds, "t", p_value)


@np.errstate(invalid="ignore")
def mean_over_tasks(
    predictions: Mapping[str, pd.DataFrame], *, metric: str = "accuracy", n: int = RESAMPLES
) -> Interval:
    """Return the mean of a model's scores over tasks: task -> prediction rows of :func:`interval`.

    The tasks are these and no sample of tasks: the interval covers other clips of theirs, and,
    from two seeds on that every task has, other seeds.
    """
    samples = [_sample(rows, metric, n) for rows in predictions.values()]
    return _interval(samples, _student(*_combined(samples)))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values corrected for their number (Holm 1979); NaN stays and is not counted.

    Correct the comparisons that were planned; the more are thrown in, the less each can show.

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


def _sample(predictions: pd.DataFrame, metric: str, n: int) -> _Sample:
    """Score every seed on the clips as they are, and the mean over seeds on resampled units."""
    clips = "clip " + predictions["clip_id"].astype(str)
    groups = predictions.get("group", pd.Series(None, predictions.index, dtype=object))
    known = groups.notna() & (groups.astype(str) != "")
    units = ("group " + groups.astype(str)).where(known, clips)
    names, codes = np.unique(units.to_numpy(object), return_inverse=True)
    seeds = predictions.get("seed", pd.Series(0, predictions.index))
    rows = {key: np.flatnonzero(seeds == key) for key in sorted(seeds.unique())}
    scorers = {key: scorer(predictions.iloc[chosen], metric) for key, chosen in rows.items()}
    by_seed = {key: of(np.ones((1, len(rows[key]))))[0] for key, of in scorers.items()}
    draws, block = [], max(1, _HELD_AT_ONCE // len(codes))
    for begin in range(0, n, block):
        weights = _resamples(len(names), begin, min(block, n - begin))
        found = [of(weights[:, codes[rows[key]]]) for key, of in scorers.items()]
        draws.append(np.mean(found, axis=0))
    unit = "groups" if known.any() else "clips"
    return _Sample(pd.Series(by_seed, dtype=float), np.concatenate(draws), len(names), unit)


@lru_cache(maxsize=8)  # every classifier of a task is scored on the same ones
def _resamples(n_units: int, begin: int, size: int) -> NDArray[np.uint8]:
    """Return how often each unit is drawn in the resamples from ``begin`` on, (size, n_units)."""
    generator = numpy_generator(begin, "bootstrap")
    return generator.multinomial(n_units, [1 / n_units] * n_units, size=size).astype(np.uint8)


def _combined(samples: Sequence[_Sample]) -> tuple[float, float, float]:
    """Return mean of independent tasks' scores, its variance, and the degrees of freedom."""
    value = float(np.mean([sample.by_seed.mean() for sample in samples]))
    parts = [(sample.variance / len(samples) ** 2, sample.n_units - 1) for sample in samples]
    seeds = pd.concat([sample.by_seed for sample in samples], axis=1, join="inner").mean(axis=1)
    if len(seeds) > 1:  # one encoder serves every task, so its luck is shared
        parts.append((float(seeds.var()) / len(seeds), len(seeds) - 1))
    variance = sum(part for part, _ in parts)
    if not variance > 0:
        return value, variance, np.inf
    return value, variance, variance**2 / sum(part**2 / df for part, df in parts if part > 0)


def _clopper_pearson(value: float, n: int) -> tuple[float, float]:
    """Return the binomial interval of a share of n units (Clopper and Pearson 1934)."""
    tail, hits = (1 - LEVEL) / 2, value * n
    low = stats.beta.ppf(tail, hits, n - hits + 1) if value > 0 else 0.0
    high = stats.beta.ppf(1 - tail, hits + 1, n - hits) if value < 1 else 1.0
    return float(low), float(high)


def _student(value: float, variance: float, df: float) -> tuple[float, float]:
    half = stats.t.ppf(0.5 + LEVEL / 2, df) * variance**0.5
    return float(value - half), float(value + half)


def _mcnemar(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """Return the exact p-value of as many clips that only one of two models has right."""
    one, other = (
        (rows["label"].astype(str) == rows["predicted"].astype(str)).to_numpy()
        for rows in (first, second)
    )
    only = int((one & ~other).sum()), int((other & ~one).sum())
    return float(stats.binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0


def _matched(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both in the same order of clips, with the seeds that can be compared."""
    if all("seed" in rows and rows["seed"].nunique() > 1 for rows in (first, second)):
        shared = set(first["seed"]) & set(second["seed"])
        first, second = (rows[rows["seed"].isin(shared)] for rows in (first, second))
        if first.empty:
            raise UserError("the two models share no seed; evaluate both with the same seeds")
    first, second = (rows.sort_values("clip_id", kind="stable") for rows in (first, second))
    facts = [rows.drop_duplicates("clip_id").set_index("clip_id") for rows in (first, second)]
    labels = [rows["label"].astype(str) for rows in facts]
    if alone := sorted(set(labels[0].index.astype(str)) ^ set(labels[1].index.astype(str))):
        raise UserError(
            f"{len(alone)} clips stand in one table only, such as {alone[0]}; compare models on "
            "the same clips"
        )
    if (labels[0] != labels[1]).any():
        raise UserError("the two tables disagree on the labels of some clips; evaluate both anew")
    if "group" in first:
        second = second.assign(group=second["clip_id"].map(facts[0]["group"]))
    return first, second


def _interval(
    samples: Sequence[_Sample],
    bounds: tuple[float, float],
    kind: str = "t",
    p_value: float = np.nan,
) -> Interval:
    kind = kind if np.isfinite(bounds[0]) else "none"
    n_units, n_seeds = sum(s.n_units for s in samples), min(len(s.by_seed) for s in samples)
    unit = "groups" if any(sample.unit == "groups" for sample in samples) else "clips"
    value, variance, _ = _combined(samples)
    return Interval(value, *bounds, kind, unit, n_units, n_seeds, variance**0.5, p_value)
