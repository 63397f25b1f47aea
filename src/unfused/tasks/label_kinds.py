"""Single-label and multi-label tasks: what a probe and a fine-tuned classifier do differently."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score

from ..data.label_sets import BAR, label_counts, multi_hot, rarest_labels


class LabelKind:
    """What depends on how many labels a clip has; this one is for one label."""

    name = "single_label"
    chosen_by = "balanced_accuracy"  # what model selection maximises, see `score`

    def classes(self, labels: ArrayLike) -> NDArray[np.str_]:
        """Return the sorted class names among labels, (C,)."""
        return np.unique(_texts(labels))

    def targets(self, labels: ArrayLike, classes: NDArray[np.str_]) -> NDArray[Any]:
        """Return what a loss is computed with: codes (N,) int64, or multi-hot (N, C) float32."""
        return np.searchsorted(classes, _texts(labels)).astype(np.int64)

    def strata(self, labels: ArrayLike) -> NDArray[np.str_]:
        """Return one class per clip, for cuts that spread classes evenly, (N,)."""
        return _texts(labels)

    def score(self, targets: NDArray[Any], logits: NDArray[Any]) -> float:
        """Return how good logits (N, C) are: a mean over the classes that have clips."""
        right = np.bincount(targets, logits.argmax(axis=1) == targets, logits.shape[1])
        clips = np.bincount(targets, minlength=logits.shape[1])
        return float((right[clips > 0] / clips[clips > 0]).mean())

    def predicted(self, logits: NDArray[Any], classes: NDArray[np.str_]) -> NDArray[np.str_]:
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

    def score(self, targets: NDArray[Any], logits: NDArray[Any]) -> float:
        known = targets.any(axis=0)
        if not known.any():
            return 0.0
        return float(average_precision_score(targets[:, known], logits[:, known], average="macro"))

    def predicted(self, logits: NDArray[Any], classes: NDArray[np.str_]) -> NDArray[np.str_]:
        return np.array([BAR.join(classes[row > 0]) for row in logits], dtype=object)


SINGLE_LABEL: LabelKind = LabelKind()
MULTI_LABEL: LabelKind = _MultiLabel()


def _texts(labels: ArrayLike) -> NDArray[np.str_]:
    return np.asarray(labels, dtype=object).astype(str)
