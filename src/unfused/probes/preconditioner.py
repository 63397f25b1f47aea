"""A cheap model of the Hessian of a penalised logistic regression, one for all penalties.

Class by class the Hessian is near ``h X'X / N + strength I``, where ``h`` is the class's mean of
p (1 - p); dropping what couples classes costs iterations, not accuracy. Of ``X'X / N`` the leading
eigenvectors are kept, the rest counts as one eigenvalue: an inverse then costs two thin products.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

RANK = 64
_ROWS = 8192
_LEAST_CURVATURE = 1e-6


class Spectrum(NamedTuple):
    """Leading eigenvectors of ``X'X / N``.

    Attributes:
        basis: Eigenvectors, (D, K).
        values: Eigenvalues, (K,).
        rest: Mean of the eigenvalues that are left out.
    """

    basis: Tensor
    values: Tensor
    rest: float

    @classmethod
    def of(cls, x: Tensor, rank: int = RANK) -> Spectrum:
        """Return the spectrum of features (N, D), by one step of randomised subspace iteration.

        Exact where D is at most ``2 * rank``; of many rows a sample is taken.
        """
        generator = torch.Generator().manual_seed(0)
        if len(x) > _ROWS:
            chosen = torch.randperm(len(x), generator=generator)[:_ROWS].sort().values
            x = x[chosen]
        dimension, total = x.shape[1], float(x.square().sum(dtype=torch.float64)) / len(x)
        if dimension <= 2 * rank:
            values, basis = torch.linalg.eigh(x.T @ x / len(x))
            return cls(basis, values.clamp_(min=0), total / dimension)  # outside is nothing
        start = torch.randn(dimension, rank, generator=generator)
        start = torch.linalg.qr(start).Q
        found = torch.linalg.qr(((x @ start).T @ x).T).Q
        image = x @ found
        values, turn = torch.linalg.eigh(image.T @ image / len(x))
        rest = max(total - float(values.sum()), 0.0) / (dimension - rank)
        return cls(found @ turn, values.clamp_(min=0), rest)

    def inverse(self, curvature: Tensor, strength: float) -> InverseHessian:
        """Return the inverse of the model at one penalty.

        Args:
            curvature: Mean of p (1 - p) of each class, (C, 1).
            strength: Penalty.
        """
        h = curvature.clamp(min=_LEAST_CURVATURE)
        outside = (h * self.rest).add_(strength).reciprocal_()
        inside = (h * self.values).add_(strength).reciprocal_().sub_(outside)
        return InverseHessian(self.basis, inside, outside, h.reciprocal())


class InverseHessian(NamedTuple):
    """A model's inverse.

    Attributes:
        basis: Eigenvectors, (D, K).
        inside: What their inverse eigenvalues exceed ``outside`` by, (C, K).
        outside: Inverse eigenvalue of all other directions, (C, 1).
        bias: Inverse second derivative by the bias, (C, 1).
    """

    basis: Tensor
    inside: Tensor
    outside: Tensor
    bias: Tensor

    def times(self, gradient: Tensor) -> Tensor:
        """Return the inverse times a gradient (C, D + 1) whose last column is the bias."""
        weight, step = gradient[:, :-1], torch.empty_like(gradient)
        torch.mul(weight, self.outside, out=step[:, :-1])
        step[:, :-1].addmm_((weight @ self.basis).mul_(self.inside), self.basis.T)
        torch.mul(gradient[:, -1:], self.bias, out=step[:, -1:])
        return step
