"""k nearest neighbours on frozen embeddings: a probe with nothing to train."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UserError
from ..tasks.label_kinds import SINGLE_LABEL, LabelKind

NEIGHBOURS = (1, 5, 10, 20, 50)
_AT_ONCE = 4_000_000  # similarities in memory


class KNNProbe:
    """Classes of the nearest training clips by cosine, each weighted ``exp(cosine / temperature)``.

    The protocol of X-ARES (k=10, temperature 0.07), but k is chosen on validation where there is a
    validation part, and 10 (or all clips, if there are fewer) where there is none.

    Args:
        neighbours: Values of k to choose from.
        temperature: Divides the cosines.
        kind: Whether a label is one class or a set of classes.

    Attributes:
        classes_: Sorted class names, (C,).
        k_: The k chosen.
        scores_: k -> score on validation; empty where nothing was chosen.

    >>> x = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> KNNProbe(neighbours=[1]).fit(x, ["a", "a", "b"]).predict([[0.1, 1.0]]).tolist()
    ['b']
    """

    classes_: NDArray[np.str_]
    k_: int
    scores_: dict[int, float]

    def __init__(
        self,
        *,
        neighbours: Sequence[int] = NEIGHBOURS,
        temperature: float = 0.07,
        kind: LabelKind = SINGLE_LABEL,
    ) -> None:
        if not neighbours or min(neighbours) < 1 or not temperature > 0:
            raise UserError(
                f"neighbours={list(neighbours)} must be 1 or more and temperature={temperature} "
                "positive"
            )
        self.neighbours, self.temperature, self.kind = sorted(neighbours), temperature, kind

    def fit(
        self,
        x_train: ArrayLike,
        y_train: ArrayLike,
        x_valid: ArrayLike | None = None,
        y_valid: ArrayLike | None = None,
    ) -> KNNProbe:
        """Keep the training clips; choose k on the others.

        Args:
            x_train: Training features, (N, D).
            y_train: Training labels, (N,).
            x_valid: Validation features, (M, D), or None.
            y_valid: Validation labels, (M,), or None.

        Raises:
            ValueError: There is no training clip, or lengths differ.
        """
        self._x = _unit(x_train)
        self.classes_ = self.kind.classes(y_train)
        targets = self.kind.targets(y_train, self.classes_)
        eye = np.eye(len(self.classes_), dtype=np.float32)
        self._votes = eye[targets] if targets.ndim == 1 else targets  # (N, C)
        if len(self._x) != len(self._votes) or not len(self._x):
            raise UserError(
                f"{len(self._x)} feature rows but {len(self._votes)} labels; give one each"
            )
        self.k_ = min(10, len(self._x))
        self.scores_ = {}
        if x_valid is not None and y_valid is not None and len(np.asarray(y_valid)):
            self._choose(_unit(x_valid), y_valid)
        return self

    def decision_function(self, x: ArrayLike) -> NDArray[np.float32]:
        """Return the share of votes for each class, (N, C)."""
        return self._shares(_unit(x), [self.k_])[self.k_]

    def predict(self, x: ArrayLike) -> NDArray[np.str_]:
        """Return the class of each row, or the classes with more than half the votes, (N,)."""
        return self.kind.predicted(self.decision_function(x) - self.threshold, self.classes_)

    @property
    def threshold(self) -> float:
        """Share of the votes above which a multi-label class is predicted."""
        return 0.5

    def _choose(self, x: NDArray[np.float32], y: ArrayLike) -> None:
        possible = [k for k in self.neighbours if k <= len(self._x)] or [len(self._x)]
        for k, shares in self._shares(x, possible).items():
            decided = self.kind.decide(shares, self.classes_, self.classes_)
            self.scores_[k] = self.kind.score(y, decided, self.classes_)
        self.k_ = max(possible, key=lambda k: (self.scores_[k], k))

    def _shares(self, x: NDArray[np.float32], ks: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        largest, found = (
            max(ks),
            {k: np.empty((len(x), len(self.classes_)), np.float32) for k in ks},
        )
        block = max(1, _AT_ONCE // len(self._x))
        for begin in range(0, len(x), block):
            rows = slice(begin, begin + block)
            cosine = x[rows] @ self._x.T
            near = np.argpartition(-cosine, largest - 1, axis=1)[:, :largest]
            near = np.take_along_axis(
                near, np.argsort(-np.take_along_axis(cosine, near, 1), axis=1, kind="stable"), 1
            )
            weight = np.exp((np.take_along_axis(cosine, near, 1) - 1) / self.temperature)
            votes = np.cumsum(weight[:, :, None] * self._votes[near], axis=1)  # (B, k, C)
            total = np.cumsum(weight, axis=1)
            for k in ks:
                found[k][rows] = votes[:, k - 1] / total[:, k - 1, None]
        return found


def _unit(x: ArrayLike) -> NDArray[np.float32]:
    rows = np.asarray(x, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
