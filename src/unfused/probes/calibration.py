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

from ..embeddings.read_out import Floats
from ..scores.metrics import calibration_error

_FEWEST = 5  # held-out clips of a class for a threshold of its own


class Calibration(NamedTuple):
    """What turns logits into probabilities, and notices clips unlike any that were learnt.

    Attributes:
        temperature: Divides the logits.
        error: Expected calibration error of the held-out clips; NaN where there were none.
        thresholds: Probability from which on a clip counts as a class, best by F1, (C,).
        evidence: Mean and standard deviation over the held-out clips of what speaks for any class.
        distance: The same of the distance to the nearest class.
    """

    temperature: float
    error: float
    thresholds: tuple[float, ...]
    evidence: tuple[float, float] = (0.0, 1.0)
    distance: tuple[float, float] = (0.0, 1.0)

    def probabilities(self, logits: NDArray[Any], *, several: bool) -> Floats:
        """Return how likely each class is, (N, C): of one label a clip, rows sum to 1."""
        scaled = np.asarray(logits, float) / self.temperature
        return (expit(scaled) if several else softmax(scaled, axis=1)).astype(np.float32)

    def strangeness(self, logits: NDArray[Any], distances: Floats) -> Floats:
        """Return by how many standard deviations clips look less like any class, (N,).

        Clips like the training clips have less than 1 on average; from 2 or 3 on, "none of these"
        is a better answer than any class. Logits notice what lies between classes, distances what
        is far from all of them: those of :meth:`~unfused.probes.linear_models.Linear.distances`.
        """
        scaled = np.asarray(logits) / self.temperature
        (usual, spread), evidence = self.evidence, _evidence(scaled, np.ones(scaled.shape, bool))
        far = (distances - self.distance[0]) / self.distance[1]
        return np.asarray(np.maximum((usual - evidence) / spread, far), np.float32)


def _evidence(scaled: NDArray[Any], told: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how much speaks for any class: minus the energy of Liu et al. (NeurIPS 2020)."""
    level = scaled.mean(axis=1, keepdims=True, where=told)  # a softmax leaves it open
    return np.asarray(logsumexp(scaled - level, axis=1, b=told))


def calibrate(
    targets: NDArray[Any],
    logits: Floats | None,
    distances: Floats | None,
    learnable: NDArray[np.bool_] | None,
    n_classes: int,
) -> Calibration:
    """Return the calibration that held-out clips ask for; a neutral one where there are none.

    Targets are class numbers, (N,), or multi-hot, (N, C); logits are (N, C), distances those to the
    nearest class, (N,). ``learnable``, (N, C), None: all are, says which classes the clips that a
    row's classifier was fitted on could teach: of others (of the only speaker that has a class,
    say) it tells nothing, while the classifier that is calibrated was fitted on all clips.
    """
    if logits is None or distances is None:
        return Calibration(1.0, np.nan, (0.5,) * n_classes)
    several, given = targets.ndim == 2, np.asarray(logits, float)
    told = np.ones(given.shape, bool) if learnable is None else learnable
    if not several:
        rows = told[np.arange(len(targets)), targets]
        targets, given, distances, told = targets[rows], given[rows], distances[rows], told[rows]
    if not told.any():
        return Calibration(1.0, np.nan, (0.5,) * n_classes)
    found = minimize_scalar(
        lambda log_t: _loss(targets, given / np.exp(log_t), told), bounds=(-6.0, 7.0),
        method="bounded",
    )  # fmt: skip
    temperature = float(np.exp(found.x))
    likely = Calibration(temperature, np.nan, ()).probabilities(given, several=several)
    hits = targets > 0 if several else np.eye(n_classes, dtype=bool)[targets]
    if several:
        error = calibration_error(likely[told], hits[told])
    else:
        error = calibration_error(likely.max(1), likely.argmax(1) == targets)
    each = [(likely[of, c], hits[of, c]) for c, of in enumerate(told.T)]
    evidence = _mean_and_spread(_evidence(given / temperature, told))
    distance = _mean_and_spread(distances[np.isfinite(distances)])
    thresholds = tuple(_best_f1(*of_class) for of_class in each)
    return Calibration(temperature, error, thresholds, evidence, distance)


def _mean_and_spread(values: NDArray[Any]) -> tuple[float, float]:
    return (float(values.mean()), float(values.std()) or 1.0) if len(values) else (0.0, 1.0)


def _loss(targets: NDArray[Any], scaled: NDArray[np.float64], told: NDArray[np.bool_]) -> float:
    if targets.ndim == 2:
        return float((np.logaddexp(0, scaled) - targets * scaled).mean(where=told))
    return float(-log_softmax(scaled, axis=1)[np.arange(len(targets)), targets].mean())


def _best_f1(likely: Floats, hits: NDArray[np.bool_]) -> float:
    if hits.sum() < _FEWEST or hits.all():
        return 0.5
    precision, recall, threshold = precision_recall_curve(hits, likely)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(threshold[f1[:-1].argmax()])
