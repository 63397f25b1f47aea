"""k nearest neighbours on frozen embeddings: a probe with nothing to train."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsRegressor

from ..core.errors import UserError
from .calibration import Calibration, calibrate
from .probe import Probe, Setting

NEIGHBOURS = (1, 5, 10, 20, 50)
_WITHOUT_CHOICE = 10


class KNNProbe(Probe):
    """Classes of the nearest clips by cosine, each weighted ``exp(-distance / temperature)``.

    The protocol of X-ARES (k=10, temperature 0.07), but k is chosen as
    :class:`~unfused.probes.probe.Probe` chooses its penalty. Its logits are shares of the votes, of
    several labels the shares above one half.

    Args:
        neighbours: Values of k to choose from; more than there are clips means all of them.
        temperature: Divides the distances.
        **options: ``kind``, ``seed`` and the others that say how a probe is chosen.

    >>> x = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> KNNProbe(neighbours=[1]).fit(x, ["a", "a", "b"]).predict([[0.1, 1.0]]).tolist()
    ['b']
    """

    def __init__(
        self,
        *,
        neighbours: Sequence[int] = NEIGHBOURS,
        temperature: float = 0.07,
        **options: Any,
    ) -> None:
        super().__init__(lda=False, **options)
        if not neighbours or min(neighbours) < 1 or not temperature > 0:
            raise UserError(
                f"neighbours={list(neighbours)} must be 1 or more and temperature={temperature} "
                "positive"
            )
        self.neighbours, self.temperature = sorted(neighbours, reverse=True), temperature

    def _logits(
        self, x: NDArray[np.float32], y: NDArray[Any], scored: NDArray[np.float32]
    ) -> Iterator[tuple[Setting, NDArray[np.float32]]]:
        for k in self.neighbours:
            yield k, self._votes(x, y, k).logits(scored)

    def _choice(self, tables: dict[Setting, pd.DataFrame]) -> Setting:
        return max(self.scores_, key=lambda k: (self.scores_[k], float(k)))

    def _without_choice(self, n: int) -> Setting:
        return min(_WITHOUT_CHOICE, n)

    def _calibration(
        self, targets: NDArray[Any], logits: NDArray[np.float32] | None
    ) -> Calibration:
        return calibrate(targets, None, len(self.classes_))

    def _fitted(self, x: NDArray[np.float32], y: NDArray[Any]) -> _Votes:
        self._dim = x.shape[1]
        return self._votes(x, y, int(self.setting_))

    def _votes(self, x: NDArray[np.float32], y: NDArray[Any], k: int) -> _Votes:
        hits = y if y.ndim == 2 else np.eye(len(self.classes_), dtype=np.float32)[y]
        model = KNeighborsRegressor(
            min(k, len(x)), metric="cosine",
            weights=lambda distance: np.exp(-distance / self.temperature),
        )  # fmt: skip
        return _Votes(model.fit(x, hits), 0.5 if y.ndim == 2 else 0.0)


class _Votes(NamedTuple):
    model: KNeighborsRegressor
    threshold: float

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the share of votes of each class beyond the threshold, (N, C)."""
        found: NDArray[np.float32] = self.model.predict(features).astype(np.float32)
        return found - np.float32(self.threshold)
