"""Linear evaluation of features: fitted on train, chosen on validation, scored on test."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .linear_probe import LinearProbe

log = logging.getLogger(__name__)


class LinearEvaluation(NamedTuple):
    """Predictions for the test clips (N,) and the probe that made them."""

    predicted: NDArray[np.str_]
    probe: LinearProbe


def evaluate_linear(
    features: Mapping[str, ArrayLike],
    labels: Mapping[str, ArrayLike],
    *,
    groups: ArrayLike | None = None,
    probe: LinearProbe | None = None,
) -> LinearEvaluation:
    """Fit scaler and probe on ``train``, choose the penalty on ``valid``, predict ``test``.

    A test label that no training clip has is named in a warning; its clips are predicted like all
    others and count as errors.

    Args:
        features: Part (``train``, ``valid``, ``test``) -> features (N, D); ``valid`` may be missing
            or empty, then folds inside ``train`` choose.
        labels: Part -> labels, (N,).
        groups: Speaker or recording of each training clip, for the inner folds, (N,).
        probe: An unfitted probe; None: the default one.

    Raises:
        ValueError: See :meth:`LinearProbe.fit`.
    """
    probe = LinearProbe() if probe is None else probe
    probe.fit(
        features["train"],
        labels["train"],
        features.get("valid"),
        labels.get("valid"),
        groups=groups,
    )
    warn_of_unseen(labels["test"], probe.classes_)
    return LinearEvaluation(probe.predict(features["test"]), probe)


def warn_of_unseen(labels: ArrayLike, classes: ArrayLike) -> list[str]:
    """Name the labels that no training clip has; predictions for their clips can only be wrong."""
    names = np.asarray(labels, dtype=object).astype(str)
    known = set(np.asarray(classes).astype(str).tolist())
    unseen = sorted(set(names.tolist()) - known)
    if unseen:
        n = int(np.isin(names, unseen).sum())
        log.warning("no training clip is labelled %s: %d test clips count as errors", unseen, n)
    return unseen
