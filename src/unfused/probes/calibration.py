"""How sure a classifier may be, learnt from logits of clips that it was not fitted on.

A probe chosen for its accuracy may say .1 for what is nearly always right (a strong penalty) or .99
for what is often wrong (LDA): one temperature repairs both (Guo et al., ICML 2017).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logsumexp, softmax
from sklearn.metrics import precision_recall_curve

from ..scores.metrics import calibration_error

_FEWEST = 5  # held-out clips of a class for a threshold of its own


class Calibration(NamedTuple):
    """What turns logits into probabilities, and notices clips unlike any that were learnt.

    Attributes:
        temperature: Divides the logits.
        error: Expected calibration error of the held-out clips; NaN where there were none.
        thresholds: Probability from which on a clip counts as a class, best by F1, (C,).
        evidence: Mean and standard deviation over the held-out clips of what speaks for any class.
    """

    temperature: float
    error: float
    thresholds: tuple[float, ...]
    evidence: tuple[float, float]

    def probabilities(self, logits: NDArray[Any], *, several: bool) -> NDArray[np.float32]:
        """Return how likely each class is, (N, C): of one label a clip, rows sum to 1."""
        scaled = np.asarray(logits, float) / self.temperature
        return (expit(scaled) if several else softmax(scaled, axis=1)).astype(np.float32)

    def strangeness(self, logits: NDArray[Any]) -> NDArray[np.float32]:
        """Return by how many standard deviations less clips look like any class, (N,).

        Clips like the training clips have about 0 on average; from 2 or 3 on, "none of these" is a
        better answer than any class.
        """
        mean, spread = self.evidence
        return ((mean - _evidence(np.asarray(logits) / self.temperature)) / spread).astype("f4")


def _evidence(scaled: NDArray[Any]) -> NDArray[np.float64]:
    """Return how much speaks for any class: minus the energy of Liu et al. (NeurIPS 2020)."""
    centred = scaled - scaled.mean(axis=1, keepdims=True)  # a softmax leaves the level open
    return np.asarray(logsumexp(centred, axis=1))


def calibrate(
    targets: NDArray[Any], logits: NDArray[np.float32] | None, n_classes: int
) -> Calibration:
    """Return the calibration that held-out clips ask for; a neutral one where there are none.

    Args:
        targets: Class numbers, (N,), or multi-hot, (N, C).
        logits: Of the held-out clips, (N, C), or None.
        n_classes: C.
    """
    if logits is None:
        return Calibration(1.0, np.nan, (0.5,) * n_classes, (0.0, 1.0))
    several, given = targets.ndim == 2, np.asarray(logits, float)
    found = minimize_scalar(
        lambda log_t: _loss(targets, given / np.exp(log_t)), bounds=(-6.0, 7.0), method="bounded"
    )
    plain = Calibration(float(np.exp(found.x)), np.nan, (), (0.0, 1.0))
    likely = plain.probabilities(given, several=several)
    hits = targets > 0 if several else np.eye(n_classes, dtype=bool)[targets]
    if several:
        error = calibration_error(likely.ravel(), hits.ravel())
    else:
        error = calibration_error(likely.max(1), likely.argmax(1) == targets)
    thresholds = tuple(_best_f1(likely[:, c], hits[:, c]) for c in range(n_classes))
    known = _evidence(given / plain.temperature)
    spread = float(known.std()) or 1.0
    return Calibration(plain.temperature, error, thresholds, (float(known.mean()), spread))


def _loss(targets: NDArray[Any], scaled: NDArray[np.float64]) -> float:
    if targets.ndim == 2:
        return float((np.logaddexp(0, scaled) - targets * scaled).mean())
    return float(-log_softmax(scaled, axis=1)[np.arange(len(targets)), targets].mean())


def _best_f1(likely: NDArray[np.float32], hits: NDArray[np.bool_]) -> float:
    if hits.sum() < _FEWEST or hits.all():
        return 0.5
    precision, recall, threshold = precision_recall_curve(hits, likely)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(threshold[f1[:-1].argmax()])
