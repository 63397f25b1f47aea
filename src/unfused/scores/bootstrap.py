"""Resampling of counts: a bootstrap of any metric is one sparse matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix

from ..core.errors import UserError
from ..core.seeding import numpy_generator
from .metrics import Counts, Metric, encode

_HELD_AT_ONCE = 4_000_000  # weights or totals in memory


@dataclass(frozen=True)
class UnitCounts:
    """What each resampled unit adds to each metric's counts.

    Attributes:
        table: Counts, (units, runs * models * 3 * C); the 3 are hits, support and predictions.
        shape: (runs, models, 3, C).
    """

    table: csr_matrix
    shape: tuple[int, int, int, int]

    @classmethod
    def of(
        cls,
        labels: ArrayLike,
        predicted: Sequence[ArrayLike],
        units: ArrayLike | None = None,
        runs: ArrayLike | None = None,
    ) -> UnitCounts:
        """Count the predictions of one or more models for the same rows.

        Args:
            labels: True labels, (N,).
            predicted: Predicted labels of each model, each (N,).
            units: What is resampled as a whole, (N,); None: each row.
            runs: The run (seed, fold) of each row, (N,); None: one run.

        Raises:
            ValueError: A label is missing or lengths differ.
        """
        classes, (true, *guesses) = encode(labels, *predicted)
        n = len(true)
        unit = np.arange(n) if units is None else _codes(units, n, "groups")
        run = np.zeros(n, np.int64) if runs is None else _codes(runs, n, "runs")
        shape = (int(run.max()) + 1, len(guesses), 3, len(classes))
        rows, cells = [], []
        for model, guess in enumerate(guesses):
            right = true == guess
            for kind, clips, code in ((0, right, true), (1, ..., true), (2, ..., guess)):
                cell = ((run * shape[1] + model) * 3 + kind) * shape[3] + code
                rows.append(unit[clips])
                cells.append(cell[clips])
        row, cell = np.concatenate(rows), np.concatenate(cells)
        size = (int(unit.max()) + 1, int(np.prod(shape)))
        return cls(csr_matrix((np.ones(len(row)), (row, cell)), shape=size), shape)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.table.shape[0])

    def observed(self, metric: Metric) -> NDArray[np.float64]:
        """Return the metric of each model on the clips as they are, (models,)."""
        return self._evaluate(np.ones((1, self.n_units)), metric)[0]

    def resampled(self, metric: Metric, n: int, seed: int) -> NDArray[np.float64]:
        """Return the metric of each model on ``n`` resamples of the units, (n, models)."""
        generator = numpy_generator(seed, "bootstrap")
        units, block = self.n_units, max(1, _HELD_AT_ONCE // max(self.table.shape))
        values = []
        for begin in range(0, n, block):
            size = min(block, n - begin)
            drawn = generator.integers(units, size=(size, units))
            drawn += np.arange(size)[:, None] * units
            weights = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units)
            values.append(self._evaluate(weights, metric))
        return np.concatenate(values)

    def _evaluate(self, weights: NDArray, metric: Metric) -> NDArray[np.float64]:
        totals = (self.table.T @ weights.T.astype(float)).T.reshape(-1, *self.shape)
        hits, support, predicted = np.moveaxis(totals, -2, 0)
        values = metric(Counts(hits, support, predicted))  # (n, runs, models)
        known = ~np.isnan(values)
        return np.where(known, values, 0.0).sum(1) / np.maximum(known.sum(1), 1)


def _codes(values: ArrayLike, n: int, name: str) -> NDArray[np.int64]:
    names = np.asarray(values, dtype=object).astype(str)
    if len(names) != n:
        raise UserError(f"{name} has {len(names)} entries for {n} clips; give one for each clip")
    return np.unique(names, return_inverse=True)[1].astype(np.int64)
