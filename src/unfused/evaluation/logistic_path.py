"""Logistic regression over a path of penalties, each started from the one before.

Multinomial where a clip has one class; one binary regression per class where it has several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_ROWS = 4096


@dataclass(frozen=True)
class Solver:
    """How the convex problem is solved: L-BFGS on the whole training set, in float32.

    Attributes:
        tolerance: Largest entry of the gradient at which it stops.
        max_iterations: Iterations for each penalty.
        device: Where.
    """

    tolerance: float = 1e-5
    max_iterations: int = 500
    device: str | torch.device = "cpu"


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
        scaled = np.empty_like(x)
        for rows, into in zip(_blocks(x), _blocks(scaled), strict=True):
            np.subtract(rows, mean, out=into)
            into /= scale
        return cls(scaled, y, mean, scale)


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
            into[:] = (rows - self.mean) / self.scale @ self.weight.T + self.bias
        return logits


def _blocks(x: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield views of some rows at a time, so that what is made of them stays small."""
    return (x[first : first + _ROWS] for first in range(0, len(x), _ROWS))


def logistic_path(
    data: Standardised,
    strengths: Sequence[float],
    solver: Solver,
    start: Classifier | None = None,
) -> Iterator[Classifier]:
    """Minimise mean cross-entropy + strength / 2 * ||W||^2 for one strength after the other.

    With multi-hot targets the cross-entropies of the classes are summed, so that each class has the
    optimum of its own binary regression.

    Args:
        data: Training set.
        strengths: Penalties, best given from strong to weak.
        solver: How.
        start: Where the first one starts from; None: from zero.

    Yields:
        The classifier at each strength.
    """
    x = torch.from_numpy(data.x).to(solver.device)
    y = torch.from_numpy(data.y).to(solver.device)
    n_classes = data.y.shape[1] if data.y.ndim == 2 else int(data.y.max()) + 1
    weight, bias = x.new_zeros(n_classes, x.shape[1]), x.new_zeros(n_classes)
    if start is not None:
        weight.copy_(torch.from_numpy(start.weight))
        bias.copy_(torch.from_numpy(start.bias))
    weight, bias = weight.requires_grad_(), bias.requires_grad_()
    for strength in strengths:
        _minimise(x, y, weight, bias, strength, solver)
        arrays = [tensor.detach().cpu().numpy().copy() for tensor in (weight, bias)]
        yield Classifier(strength, arrays[0], arrays[1], data.mean, data.scale)


def _minimise(
    x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, strength: float, solver: Solver
) -> None:
    optimiser = torch.optim.LBFGS(
        [weight, bias],
        max_iter=solver.max_iterations,
        history_size=10,
        tolerance_grad=solver.tolerance,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        logits = F.linear(x, weight, bias)
        if y.ndim == 1:
            loss = F.cross_entropy(logits, y)
        else:
            loss = F.binary_cross_entropy_with_logits(logits, y, reduction="sum") / len(x)
        loss = loss + strength / 2 * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
