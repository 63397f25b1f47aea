"""L-BFGS for penalised cross-entropy over a sequence of penalties.

Beside the textbook's method (Nocedal and Wright 2006, algorithm 7.4) it uses what is special here:
a model of the Hessian is the initial matrix; the line search works on logits; and curvature pairs
are those of the loss alone, so they stay valid when the penalty changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .cross_entropy import CrossEntropy, Value
from .preconditioner import InverseHessian, Spectrum

Pair = tuple[Tensor, Tensor]
_PAIRS = 20
_SLOPE = 0.5  # a step is taken where the slope is at most this share of the first slope
_ROUNDING = 1e-6  # of the loss, which is a float32 sum
_TRIALS = 30


class Point(NamedTuple):
    """Where a solver is.

    Attributes:
        theta: Weights and biases, (C, D + 1).
        logits: (C, N).
        value: Loss at these logits.
        gradient: Of the loss alone, by ``theta``.
        pairs: The last steps and how the gradient of the loss changed on them.
    """

    theta: Tensor
    logits: Tensor
    value: Value
    gradient: Tensor
    pairs: tuple[Pair, ...] = ()

    @classmethod
    def of(cls, loss: CrossEntropy, theta: Tensor) -> Point:
        """Return the point with weights ``theta``."""
        logits = loss.logits(theta)
        value = loss.at(logits)
        return cls(theta, logits, value, loss.gradient(value.residual))


def minimise(
    loss: CrossEntropy,
    spectrum: Spectrum,
    point: Point,
    strength: float,
    tolerance: float,
    max_iterations: int,
) -> Point:
    """Minimise loss + strength / 2 * ||W||^2, starting at ``point``.

    Stops where no entry of the gradient is larger than ``tolerance``, after ``max_iterations``, or
    where float32 allows no further descent.
    """
    penalty = torch.full_like(point.theta, strength)
    penalty[:, -1] = 0.0
    memory = _Memory(point.pairs, penalty)
    for _ in range(max_iterations):
        gradient = torch.addcmul(point.gradient, penalty, point.theta)
        if float(gradient.abs().max()) <= tolerance:
            break
        model = spectrum.inverse(point.value.curvature, strength)
        direction = memory.direction(gradient, model)
        moved = _step(loss, point, gradient, direction, penalty)
        if moved is not None:
            memory.add(moved.theta - point.theta, moved.gradient - point.gradient)
            point = moved
        elif memory.pairs:
            memory = _Memory((), penalty)
        else:
            break
    return point._replace(pairs=tuple(memory.pairs))


class _Memory:
    """The last steps at one penalty, and what they say of the Hessian."""

    def __init__(self, pairs: Sequence[Pair], penalty: Tensor) -> None:
        self.pairs: list[Pair] = []
        self._penalty = penalty
        self._flat: list[tuple[Tensor, Tensor, float]] = []
        for step, change in pairs:
            self.add(step, change)

    def add(self, step: Tensor, change: Tensor) -> None:
        """Remember a step and how the gradient of the loss alone changed on it."""
        flat = step.flatten(), torch.addcmul(change, self._penalty, step).flatten()
        product = float(torch.dot(*flat))
        if product > 0:  # it is, but for rounding
            self.pairs = [*self.pairs, (step, change)][-_PAIRS:]
            self._flat = [*self._flat, (*flat, product)][-_PAIRS:]

    def direction(self, gradient: Tensor, model: InverseHessian) -> Tensor:
        """Return minus the approximate inverse Hessian times the gradient."""
        remainder, shares = gradient.flatten().clone(), []
        for step, change, product in reversed(self._flat):
            share = float(torch.dot(step, remainder)) / product
            remainder.add_(change, alpha=-share)
            shares.append(share)
        direction = model.times(remainder.view_as(gradient)).flatten()
        if self._flat:
            _, change, product = self._flat[-1]
            modelled = model.times(change.view_as(gradient)).flatten()
            direction *= product / float(torch.dot(change, modelled))
        for (step, change, product), share in zip(self._flat, reversed(shares), strict=True):
            direction.add_(step, alpha=share - float(torch.dot(change, direction)) / product)
        return direction.neg_().view_as(gradient)


def _step(
    loss: CrossEntropy, point: Point, gradient: Tensor, direction: Tensor, penalty: Tensor
) -> Point | None:
    """Return the point after a line search, or None where there is no descent."""
    slope = _dot(gradient, direction)
    if not slope < 0:
        return None
    along, penalised = loss.logits(direction), penalty * direction
    linear, square = _dot(point.theta, penalised), _dot(direction, penalised)
    low, high, size = (0.0, slope), None, 1.0
    for _ in range(_TRIALS):
        logits = torch.add(point.logits, along, alpha=size)
        value = loss.at(logits)
        now = _dot(value.residual, along) + linear + size * square
        rise = value.loss - point.value.loss + size * linear + size**2 / 2 * square
        if abs(now) <= -_SLOPE * slope and rise <= _ROUNDING * abs(point.value.loss):
            theta = torch.add(point.theta, direction, alpha=size)
            return Point(theta, logits, value, loss.gradient(value.residual))
        if now < 0:
            low = (size, now)
        else:
            high = (size, now)
        size = _next_size(low, high, slope)
    return None


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.flatten(), b.flatten()))


def _next_size(low: tuple[float, float], high: tuple[float, float] | None, slope: float) -> float:
    """Return the next size to try: slopes rise, so the minimum is where their secant is zero."""
    size, now = low
    if high is None:
        secant = size * slope / (slope - now) if now > slope else 4 * size
        return min(max(secant, 1.5 * size), 4 * size)
    share = -now / (high[1] - now)
    return size + (high[0] - size) * min(max(share, 0.1), 0.9)
