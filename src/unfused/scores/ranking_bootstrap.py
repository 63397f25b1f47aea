"""Bootstrap of multi-label metrics over clips or groups of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UserError
from ..core.seeding import numpy_generator
from ..data.label_sets import multi_hot, split_labels
from .ranking import RankingMetric

_HELD_AT_ONCE = 20_000_000  # clip weights in memory


@dataclass(frozen=True)
class RankedRuns:
    """Scores of one or more models for the same test clips, in one or more runs.

    Attributes:
        scores: Model -> scores, each (rows, C); a row is one clip in one run.
        hits: (rows, C) bool.
        unit: Which unit (clip or group) each row belongs to, (rows,) from 0.
        run: Which run (seed) it belongs to, (rows,) from 0.
    """

    scores: Sequence[NDArray[np.float64]]
    hits: NDArray[np.bool_]
    unit: NDArray[np.int64]
    run: NDArray[np.int64]

    @classmethod
    def of(
        cls, scores: Sequence[ArrayLike], hits: ArrayLike, units: ArrayLike, runs: ArrayLike
    ) -> RankedRuns:
        """Number units and runs by name.

        Raises:
            ValueError: The arrays are not about the same rows, or a score is not finite.
        """
        unit, run = (
            np.unique(np.asarray(names, str), return_inverse=True)[1] for names in (units, runs)
        )
        arrays, truth = [np.asarray(item, float) for item in scores], np.asarray(hits, bool)
        if any(item.shape != truth.shape for item in arrays) or len(unit) != len(truth):
            raise UserError(
                f"scores of shapes {[item.shape for item in arrays]} for labels of shape "
                f"{truth.shape} and {len(unit)} rows; give one score per clip and class"
            )
        if not all(np.isfinite(item).all() for item in arrays):
            raise UserError("some scores are not finite; the encoder or the probe has diverged")
        return cls(arrays, truth, unit, run)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.unit.max()) + 1

    def by_run(self, metric: RankingMetric) -> NDArray[np.float64]:
        """Return the metric of each model in each run, (models, runs)."""
        return self._evaluate(np.ones((1, self.n_units)), metric)[0]

    def observed(self, metric: RankingMetric) -> NDArray[np.float64]:
        """Return the mean over runs of each model, (models,)."""
        return self.by_run(metric).mean(axis=1)

    def resampled(self, metric: RankingMetric, n: int, seed: int) -> NDArray[np.float64]:
        """Return the mean over runs on ``n`` resamples of the units, (n, models)."""
        generator = numpy_generator(seed, "bootstrap")
        units, block = self.n_units, max(1, _HELD_AT_ONCE // max(len(self.unit), 1))
        values = []
        for begin in range(0, n, block):
            size = min(block, n - begin)
            drawn = generator.integers(units, size=(size, units))
            drawn += np.arange(size)[:, None] * units
            weights = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units)
            values.append(np.nanmean(self._evaluate(weights, metric), axis=2))
        return np.concatenate(values)

    def _evaluate(self, weights: NDArray, metric: RankingMetric) -> NDArray[np.float64]:
        """Return the metric, (W, models, runs), at unit weights, (W, units)."""
        by_model = []
        for scores in self.scores:
            by_run = []
            for number in range(int(self.run.max()) + 1):
                rows = self.run == number
                of_rows = weights[:, self.unit[rows]]
                by_run.append(metric(scores[rows], self.hits[rows], of_rows))
            by_model.append(np.stack(by_run, axis=1))
        return np.stack(by_model, axis=1)


def is_ranked(predictions: pd.DataFrame) -> bool:
    """Return whether prediction rows are those of a multi-label task."""
    return "scores" in predictions and bool(predictions["scores"].notna().all())


def ranked_runs(units: ArrayLike, *predictions: pd.DataFrame) -> RankedRuns:
    """Return the scores in prediction rows of one or more models on the same clips.

    A run is one seed and fold. Classes that one fold's classifier does not know score lowest there.

    Args:
        units: What is resampled as a whole, (N,), in the order of the rows.
        *predictions: ``label, classes, scores`` and, where there are any, ``seed`` and ``fold``, in
            the same order of clips.
    """
    first = predictions[0]
    names = sorted(
        {name for text in pd.concat(predictions)["classes"] for name in split_labels(text)}
    )
    runs = first["seed"].astype(str) if "seed" in first else pd.Series("", index=first.index)
    if "fold" in first:
        runs = runs + "/" + first["fold"].astype(str)
    scores = [_aligned(table, names) for table in predictions]
    return RankedRuns.of(scores, multi_hot(first["label"], names), units, runs)


def _aligned(predictions: pd.DataFrame, names: list[str]) -> NDArray[np.float64]:
    """Return the scores of the named classes, (N, C)."""
    found = np.full((len(predictions), len(names)), np.finfo(np.float32).min, float)
    for text, rows in predictions.reset_index(drop=True).groupby("classes"):
        places = np.searchsorted(names, split_labels(str(text)))
        found[np.ix_(rows.index, places)] = np.stack(rows["scores"].to_numpy())
    return found
