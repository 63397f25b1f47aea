"""Self-training: discriminant analysis that learns from clips without a label, too (ours).

A few labels hardly say how clips of one class differ. The other clips of the task show along which
axes its clips differ at all; there they are named by a classifier of the few labels, which is then
fitted anew to what it named, some times over (docs/results.md#clips-without-a-label).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg
from sklearn.decomposition import PCA

from ..core.errors import UserError
from ..embeddings.read_out import Floats
from .linear_models import Linear, Standardised, all_classes

MOST_AXES = 96
"""So many principal axes are kept, and at most a third of the number of clips."""
ROUNDS = 5
SHARE = 0.3
"""What a clip counts that was named, where one with a label counts 1."""
SHRINKAGE = 0.1


class Axes(NamedTuple):
    """Principal axes (R, D) of features less their mean (D,), on the scale of the first."""

    mean: Floats
    axes: Floats

    @classmethod
    def of(cls, features: Floats) -> Axes:
        """Return those of (N, D) features, each standardised."""
        mean, scale = features.mean(axis=0), features.std(axis=0)
        scale[scale <= 1e-6 * np.abs(mean)] = np.inf  # constant but for rounding
        standard = (features - mean) / scale
        wanted = max(1, min(MOST_AXES, len(standard) // 3, standard.shape[1]))
        pca = PCA(wanted, svd_solver="randomized", random_state=0).fit(standard)
        spread = np.sqrt(pca.explained_variance_[0]) or 1.0  # 0: all clips are the same
        return cls(mean, pca.components_ / scale / spread)


class Unlabelled:
    """Clips of a task that may be heard without labels: (N, D) features, on their own axes."""

    def __init__(self, features: Floats, part_of: Unlabelled | None = None) -> None:
        self.features, self._part_of = features, part_of

    @cached_property
    def axes(self) -> Axes:
        """Axes of all of them; of a part (:meth:`but`) those of the whole."""
        return Axes.of(self.features) if self._part_of is None else self._part_of.axes

    def but(self, known: ArrayLike) -> Unlabelled:
        """Return them without some, (N,) bool."""
        return Unlabelled(self.features[~np.asarray(known, bool)], self)

    def __len__(self) -> int:
        return len(self.features)

    def lda(self, data: Standardised) -> Linear:
        """Return discriminant analysis fitted to labelled clips and to these, which it names.

        Raises:
            UserError: A value is not finite, or these have another dimension.
        """
        if self.features.shape[1] != data.x.shape[1] or not self._finite:
            raise UserError(
                f"features of clips without a label, {self.features.shape}, must be finite and of "
                f"{data.x.shape[1]} dimensions: embed all with the same embedder"
            )
        (mean, axes), (known, labels) = self.axes, np.unique(data.targets, return_inverse=True)
        labelled = (data.x * data.scale + (data.mean - mean)) @ axes.T
        x = np.concatenate([labelled, self._on_axes])
        shares = np.repeat([1.0, SHARE], [len(labelled), len(self)])
        first = data.lda
        begin = first.weight / first.scale  # of features as they come
        logits = self._centred @ begin.T + (first.bias + begin @ (mean - first.mean))
        named = np.searchsorted(known, logits.argmax(axis=1))
        for _ in range(ROUNDS):
            weight, bias = _weighted_lda(x, np.concatenate([labels, named]), shares)
            before, named = named, (self._on_axes @ weight.T + bias).argmax(axis=1)
            if np.array_equal(before, named):
                break
        of_features = weight.astype(np.float64) @ axes
        bias += of_features @ (data.mean - mean)
        return data.linear(*all_classes(of_features * data.scale, bias, known, data.n_classes))

    @cached_property
    def _finite(self) -> bool:
        return bool(np.isfinite(self.features).all())

    @cached_property
    def _on_axes(self) -> NDArray[np.floating]:
        return self._centred @ self.axes.axes.T

    @cached_property
    def _centred(self) -> Floats:
        return self.features - self.axes.mean


def _weighted_lda(
    x: NDArray[np.floating], labels: NDArray[np.int64], shares: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return weights (K, R) and biases (K,) of discriminant analysis, clips counting by shares.

    Its covariance is shrunk towards its diagonal.
    """
    hits = np.eye(labels.max() + 1)[labels] * shares[:, None]
    counts = hits.sum(axis=0)
    means = hits.T @ x / counts[:, None]
    within = (x - means[labels]) * np.sqrt(shares / shares.sum())[:, None]
    covariance = within.T @ within
    spread = np.diag(covariance).copy()
    covariance *= 1 - SHRINKAGE
    covariance.flat[:: len(spread) + 1] = spread + 1e-9 * (spread.max() or 1.0)
    weight = linalg.solve(covariance, means.T, assume_a="pos").T
    return weight, np.log(counts / counts.sum()) - np.einsum("kr,kr->k", weight, means) / 2
