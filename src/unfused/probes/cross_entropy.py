"""Mean cross-entropy of a linear layer over all clips, in the pieces that a solver needs.

The layer is one matrix ``theta``, (C, D + 1): weights, and the biases in its last column. Logits
are linear in it, so a line search needs the logits of its start and of its direction, and no other
product.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Value(NamedTuple):
    """What cross-entropy is at some logits.

    Attributes:
        loss: Mean over clips (with multi-hot targets summed over classes), a float64 scalar.
        residual: Its gradient by the logits, (C, N).
        curvature: Mean of p (1 - p) of each class, (C, 1).
    """

    loss: float
    residual: Tensor
    curvature: Tensor


class CrossEntropy:
    """The loss on one training set.

    Args:
        x: Features, (N, D) float32.
        y: Class numbers, (N,) int64, or multi-hot targets, (N, C) float32.
        n_classes: C.
    """

    def __init__(self, x: Tensor, y: Tensor, n_classes: int) -> None:
        self.x, self.n_classes = x, n_classes
        self._multi_hot = y.ndim == 2
        self._y = y.T.contiguous() if self._multi_hot else y
        self._rows = torch.arange(len(x))

    def logits(self, theta: Tensor) -> Tensor:
        """Return the logits of all clips, (C, N)."""
        return torch.addmm(theta[:, -1:], theta[:, :-1], self.x.T)

    def gradient(self, residual: Tensor) -> Tensor:
        """Return the gradient by ``theta``, (C, D + 1)."""
        return torch.cat([residual @ self.x, residual.sum(1, keepdim=True)], dim=1)

    def at(self, logits: Tensor) -> Value:
        """Return loss, residual and curvature at ``logits``, (C, N)."""
        loss, p = self._bernoulli(logits) if self._multi_hot else self._categorical(logits)
        curvature = (p - p.square()).mean(1, keepdim=True)
        if self._multi_hot:
            p -= self._y
        else:
            p[self._y, self._rows] -= 1
        return Value(loss, p.div_(len(self.x)), curvature)

    def _categorical(self, logits: Tensor) -> tuple[float, Tensor]:
        highest = logits.amax(0)
        p = (logits - highest).exp_()
        total = p.sum(0)
        of_truth = logits[self._y, self._rows]
        loss = (total.log() + highest - of_truth).mean(dtype=torch.float64)
        return float(loss), p.div_(total)

    def _bernoulli(self, logits: Tensor) -> tuple[float, Tensor]:
        losses = torch.nn.functional.softplus(logits).addcmul_(logits, self._y, value=-1)
        return float(losses.sum(dtype=torch.float64)) / len(self.x), logits.sigmoid()
