"""Logistic regression over a path of penalties, each started from the one before.

Multinomial where a clip has one class; one binary regression per class where it has several.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .cross_entropy import CrossEntropy
from .lbfgs import Point, minimise
from .preconditioner import Spectrum

_ROWS = 4096
_NARROW = 0.75  # clips per dimension up to which solving among clips is cheaper


class Standardised(NamedTuple):
    """Training features (N, D) on their own scale, targets and the scaler (D,).

    Targets ``y`` are class numbers, (N,) int64, or multi-hot, (N, C) float32.
    """

    x: NDArray[np.float32]
    y: NDArray
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def of(cls, x: NDArray[np.float32], y: NDArray) -> Standardised:
        """Fit the scaler to ``x``; a constant feature is only centred. Targets stay as they are."""
        centre = sum((rows.sum(0, dtype=np.float64) for rows in _blocks(x)), np.zeros(x.shape[1]))
        centre = centre / len(x)
        squares = (np.square(rows - centre).sum(0) for rows in _blocks(x))  # float64
        spread = np.sqrt(sum(squares, np.zeros(x.shape[1])) / len(x))
        spread[spread <= 1e-6 * np.abs(centre)] = 1.0  # constant but for rounding
        mean, scale = np.asarray(centre, np.float32), np.asarray(spread, np.float32)
        scale[scale == 0] = 1.0
        return cls(_scaled(x, mean, scale), y, mean, scale)


class Classifier(NamedTuple):
    """Weights (C, D) and biases (C,) at one strength, on features scaled as in training."""

    strength: float
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of features as they come, (N, D) -> (N, C)."""
        logits = np.empty((len(x), len(self.bias)), np.float32)
        for rows, into in zip(_blocks(x), _blocks(logits), strict=True):
            into[:] = _scaled(rows, self.mean, self.scale) @ self.weight.T + self.bias
        return logits


class Solution(NamedTuple):
    """The optimum at one strength, in a solver's own coordinates."""

    strength: float
    point: Point


def _blocks(x: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield views of some rows at a time, so that what is made of them stays small."""
    return (x[first : first + _ROWS] for first in range(0, len(x), _ROWS))


def _scaled(
    x: NDArray[np.float32], mean: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return features on the training features' scale; no more than the result is allocated."""
    rows = x - mean
    rows /= scale
    return rows


class LogisticPath:
    """One training set, solved for one penalty after the other, each started from the one before.

    Minimises mean cross-entropy + strength / 2 * ||W||^2. With multi-hot targets the losses of the
    classes are summed, so that each class has the optimum of its own binary regression.

    Where there are clearly fewer clips than dimensions the optimum lies in the space that the
    clips span, and is found there: exact, and as small as the number of clips.

    Args:
        data: Training set.
    """

    def __init__(self, data: Standardised) -> None:
        self._data = data
        x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
        n_classes = data.y.shape[1] if data.y.ndim == 2 else int(data.y.max()) + 1
        self._basis: Tensor | None = None
        with torch.inference_mode():
            if len(x) <= _NARROW * x.shape[1]:
                self._basis, triangle = torch.linalg.qr(x.T)
                x = triangle.T.contiguous()
            self._loss = CrossEntropy(x, y, n_classes)
            self._spectrum = Spectrum.of(x)
            self._point = Point.of(self._loss, x.new_zeros(n_classes, x.shape[1] + 1))

    def solve(self, strength: float, tolerance: float, max_iterations: int = 500) -> Solution:
        """Go on to the optimum at ``strength`` from wherever the last call ended.

        Args:
            strength: Penalty; a path is best followed from strong to weak.
            tolerance: Largest entry of the gradient at which to stop.
            max_iterations: Iterations of L-BFGS.
        """
        with torch.inference_mode():
            self._point = minimise(
                self._loss, self._spectrum, self._point, strength, tolerance, max_iterations
            )
        return Solution(strength, self._point)

    def resume(self, solution: Solution) -> None:
        """Go back to a solution of this path."""
        self._point = solution.point

    def project(self, x: NDArray[np.float32]) -> Tensor:
        """Return features (M, D) as they come in the solver's coordinates, for :meth:`logits`."""
        rows = torch.from_numpy(_scaled(x, self._data.mean, self._data.scale))
        return rows if self._basis is None else rows @ self._basis

    def logits(self, solution: Solution, projected: Tensor) -> NDArray[np.float32]:
        """Return the logits of projected features, (M, C)."""
        theta = solution.point.theta
        with torch.inference_mode():
            return (projected @ theta[:, :-1].T + theta[:, -1]).numpy()

    def classifier(self, solution: Solution) -> Classifier:
        """Return a solution's classifier."""
        theta = solution.point.theta
        with torch.inference_mode():
            weight = theta[:, :-1] if self._basis is None else theta[:, :-1] @ self._basis.T
            found = [part.numpy().copy() for part in (weight, theta[:, -1])]
        return Classifier(solution.strength, found[0], found[1], *self._data[2:])
