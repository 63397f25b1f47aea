"""k nearest neighbours on frozen embeddings: a probe with nothing to train."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsRegressor

from ..embeddings.read_out import Floats
from ..tasks.label_kinds import SINGLE_LABEL, LabelKind
from .probe import Probe, Setting

NEIGHBOURS = (50, 20, 10, 5, 1)
"""Values of k to choose from; more than there are clips means all of them."""
TEMPERATURE = 0.07
_WITHOUT_CHOICE = 10


class KNNProbe(Probe):
    """Classes of the nearest clips by cosine, each weighted ``exp(-distance / TEMPERATURE)``.

    The protocol of X-ARES (k=10, temperature 0.07), but k is chosen as
    :class:`~unfused.probes.probe.Probe` chooses its penalty. Its logits are shares of the votes, of
    several labels the shares above one half.

    >>> x = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> KNNProbe().fit(x, ["a", "a", "b", "b"]).predict([[0.1, 1.0]]).tolist()
    ['b']
    """

    _calibrated = False

    def __init__(self, *, seed: int = 0, kind: LabelKind = SINGLE_LABEL) -> None:
        super().__init__(lda=False, seed=seed, kind=kind)

    def _learnt(self, x: Floats, y: NDArray[Any]) -> Any:
        return x, y if y.ndim == 2 else np.eye(len(self.classes_), dtype=np.float32)[y]

    def _models(self, learnt: Any) -> Iterator[tuple[Setting, Any]]:
        for k in NEIGHBOURS:
            yield k, self._fitted(learnt, k)

    def _without_choice(self, n: int) -> Setting:
        return min(_WITHOUT_CHOICE, n)

    def _fitted(self, learnt: Any, setting: Setting) -> _Votes:
        x, hits = learnt
        model = KNeighborsRegressor(
            min(int(setting), len(x)), metric="cosine",
            weights=lambda distance: np.exp(-distance / TEMPERATURE),
        )  # fmt: skip
        return _Votes(model.fit(x, hits), 0.0 if self.kind is SINGLE_LABEL else 0.5)


class _Votes(NamedTuple):
    model: KNeighborsRegressor
    threshold: float

    def logits(self, features: Floats) -> Floats:
        """Return the share of votes of each class beyond the threshold, (N, C)."""
        found: Floats = self.model.predict(features).astype(np.float32)
        return found - np.float32(self.threshold)
