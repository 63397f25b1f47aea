"""Single-label and multi-label tasks: what a probe and a fine-tuned classifier do differently."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..data.label_sets import BAR, label_counts, multi_hot, rarest_labels
from ..scores.metrics import balanced_accuracy
from ..scores.ranking import mean_average_precision


class LabelKind:
    """What depends on how many labels a clip has; this one is for one label.

    Attributes:
        name: ``single_label`` or ``multi_label``.
        chosen_by: What model selection maximises on validation clips.
    """

    name = "single_label"
    chosen_by = "balanced_accuracy"

    def classes(self, labels: ArrayLike) -> NDArray[np.str_]:
        """Return the sorted class names among labels, (C,)."""
        return np.unique(_texts(labels))

    def targets(self, labels: ArrayLike, classes: NDArray[np.str_]) -> NDArray[Any]:
        """Return what a loss is computed with: codes (N,) int64, or multi-hot (N, C) float32."""
        return np.searchsorted(classes, _texts(labels)).astype(np.int64)

    def strata(self, labels: ArrayLike) -> NDArray[np.str_]:
        """Return one class per clip, for cuts that spread classes evenly, (N,)."""
        return _texts(labels)

    def decide(
        self, logits: NDArray, classes: NDArray[np.str_], known: NDArray[np.str_]
    ) -> NDArray[Any]:
        """Return a judgement of each clip that :meth:`score` takes.

        Args:
            logits: (N, C') over ``classes``.
            classes: The classes of a classifier, among ``known``.
            known: All classes.
        """
        return classes[logits.argmax(axis=1)]

    def score(self, labels: ArrayLike, decided: NDArray[Any], known: NDArray[np.str_]) -> float:
        """Return how good judgements are, by :attr:`chosen_by`."""
        return balanced_accuracy(_texts(labels), decided)

    def predicted(self, logits: NDArray, classes: NDArray[np.str_]) -> NDArray[np.str_]:
        """Return the label, or the set of labels more likely than not, of each clip, (N,)."""
        return classes[logits.argmax(axis=1)]


class _MultiLabel(LabelKind):
    name = "multi_label"
    chosen_by = "mAP"

    def classes(self, labels: ArrayLike) -> NDArray[np.str_]:
        return np.array(sorted(label_counts(_texts(labels))))

    def targets(self, labels: ArrayLike, classes: NDArray[np.str_]) -> NDArray[Any]:
        return multi_hot(_texts(labels), classes).astype(np.float32)

    def strata(self, labels: ArrayLike) -> NDArray[np.str_]:
        return rarest_labels(pd.Series(_texts(labels), dtype=object)).to_numpy(str)

    def decide(
        self, logits: NDArray, classes: NDArray[np.str_], known: NDArray[np.str_]
    ) -> NDArray[Any]:
        scores = np.full((len(logits), len(known)), np.finfo(np.float32).min, np.float32)
        scores[:, np.searchsorted(known, classes)] = logits
        return scores

    def score(self, labels: ArrayLike, decided: NDArray[Any], known: NDArray[np.str_]) -> float:
        hits, weights = multi_hot(_texts(labels), known), np.ones((1, len(decided)))
        value = float(mean_average_precision(decided, hits, weights)[0])
        return -1.0 if np.isnan(value) else value

    def predicted(self, logits: NDArray, classes: NDArray[np.str_]) -> NDArray[np.str_]:
        return np.array([BAR.join(classes[row > 0]) for row in logits], dtype=object)


SINGLE_LABEL: LabelKind = LabelKind()
MULTI_LABEL: LabelKind = _MultiLabel()


def _texts(labels: ArrayLike) -> NDArray[np.str_]:
    return np.asarray(labels, dtype=object).astype(str)
