"""L-BFGS for penalised cross-entropy over a sequence of penalties.

Beside the textbook's method (Nocedal and Wright 2006, algorithm 7.4) it uses what is special here:
a model of the Hessian is the initial matrix; the line search works on logits; and curvature pairs
are those of the loss alone, so they stay valid when the penalty changes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .cross_entropy import CrossEntropy, Value
from .preconditioner import Spectrum

_PAIRS = 10
_SLOPE = 0.25  # a step is taken where the slope is at most this share of the first slope
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
    pairs: tuple[tuple[Tensor, Tensor], ...] = ()

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
    penalty = torch.full_like(point.theta[:1], strength)
    penalty[:, -1] = 0.0
    for _ in range(max_iterations):
        gradient = torch.addcmul(point.gradient, penalty, point.theta)
        if float(gradient.abs().max()) <= tolerance:
            break
        direction = _direction(point, gradient, spectrum, penalty, strength)
        moved = _step(loss, point, gradient, direction, penalty)
        if moved is None and not point.pairs:
            break
        point = point._replace(pairs=()) if moved is None else moved
    return point


def _direction(
    point: Point, gradient: Tensor, spectrum: Spectrum, penalty: Tensor, strength: float
) -> Tensor:
    """Return where to go: minus the approximate inverse Hessian times the gradient."""
    curvature = point.value.curvature
    pairs = [(step, torch.addcmul(change, penalty, step)) for step, change in point.pairs]
    products = [torch.sum(step * change) for step, change in pairs]
    remainder, shares = gradient.clone(), []
    for (step, change), product in zip(reversed(pairs), reversed(products), strict=True):
        share = torch.sum(step * remainder) / product
        remainder -= share * change
        shares.append(share)
    direction = spectrum.solve(remainder, curvature, strength)
    if pairs:
        change = pairs[-1][1]
        scale = torch.sum(change * spectrum.solve(change, curvature, strength))
        direction *= products[-1] / scale
    for (step, change), product, share in zip(pairs, products, reversed(shares), strict=True):
        direction += step * (share - torch.sum(change * direction) / product)
    return direction.neg_()


def _step(
    loss: CrossEntropy, point: Point, gradient: Tensor, direction: Tensor, penalty: Tensor
) -> Point | None:
    """Return the point after a line search, or None where there is no descent."""
    slope = float(torch.sum(gradient * direction))
    if not slope < 0:
        return None
    along = loss.logits(direction)
    linear, square = (
        float(torch.sum(penalty * other * direction)) for other in (point.theta, direction)
    )
    low, high, size = (0.0, slope), None, 1.0
    for _ in range(_TRIALS):
        logits = torch.add(point.logits, along, alpha=size)
        value = loss.at(logits)
        now = float(torch.sum(value.residual * along)) + linear + size * square
        rise = value.loss - point.value.loss + size * linear + size**2 / 2 * square
        if abs(now) <= -_SLOPE * slope and rise <= _ROUNDING * abs(point.value.loss):
            return _moved(loss, point, size * direction, logits, value)
        if now < 0:
            low = (size, now)
        else:
            high = (size, now)
        size = _next_size(low, high, slope)
    return None


def _moved(
    loss: CrossEntropy, point: Point, step: Tensor, logits: Tensor, value: Value
) -> Point:
    gradient = loss.gradient(value.residual)
    change, pairs = gradient - point.gradient, point.pairs
    if float(torch.sum(step * change)) > 0:  # it is, but for rounding
        pairs = (*pairs, (step, change))[-_PAIRS:]
    return Point(point.theta + step, logits, value, gradient, pairs)


def _next_size(
    low: tuple[float, float], high: tuple[float, float] | None, slope: float
) -> float:
    """Return the next size to try: slopes rise, so the minimum is where their secant is zero."""
    size, now = low
    if high is None:
        secant = size * slope / (slope - now) if now > slope else 4 * size
        return min(max(secant, 1.5 * size), 4 * size)
    share = -now / (high[1] - now)
    return size + (high[0] - size) * min(max(share, 0.1), 0.9)
