"""The linear probe: logistic regression or shrinkage LDA, chosen on clips that it did not learn.

Labels are few, so each is used twice: first to choose, on validation clips or by folds, then to
fit the chosen classifier to all of them. The clips held out while choosing also say how sure the
classifier may be (:mod:`.calibration`).
"""

from __future__ import annotations

import logging
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from ..core.errors import UserError
from ..tasks.label_kinds import SINGLE_LABEL, LabelKind, with_unknown
from .calibration import Calibration, calibrate
from .linear_models import Linear, Standardised, logistic_path, shrinkage_lda

log = logging.getLogger(__name__)
STRENGTHS = (1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
WITHOUT_CHOICE = 1e-2
"""The penalty where there are too few clips to choose one."""
PATIENCE = 3
"""So many penalties in a row that are worse than the best end the path."""
LDA = "lda"
_ROUGH, _FINE = 3e-4, 1e-5  # tolerance while penalties are compared, and of the one chosen
_MANY = 20_000  # clips; from here on one fold says enough
_MOST_REPEATS = 5
Rows = NDArray[np.int64]
Setting = float | str
"""A penalty, or :data:`LDA`."""


class Probe:
    """A linear classifier on embeddings, its kind and penalty chosen on held-out clips.

    Candidates are logistic regression (mean cross-entropy + strength / 2 * ||W||^2) at each
    penalty and, where a clip has one label, shrinkage LDA. The best score is chosen (balanced
    accuracy; of several labels mAP), the stronger penalty on a tie; LDA only if it is better than
    the best logistic regression by more than the standard error of their difference.

    Args:
        strengths: Penalties to choose from.
        lda: Whether LDA is a candidate.
        min_valid: With fewer validation clips than this, with fewer than ``min_valid_per_class`` of
            some class or of fewer than ``min_valid_groups`` groups, folds of training and validation
            clips together choose: so few clips or speakers choose by luck.
        min_valid_per_class: See there.
        min_valid_groups: See there.
        n_folds: Number of these folds. Groups are kept whole, classes spread evenly.
        few: With fewer clips than this, folds are dealt anew until so many predictions are made,
            at most five times.
        seed: Seed of the folds; nothing else is random.
        kind: Whether a label is one class or a set of classes.

    Attributes:
        classes_: Sorted class names, (C,).
        setting_: The penalty chosen, or ``"lda"``.
        scores_: Setting -> score on held-out clips; empty where nothing could be chosen.
        chosen_on_: ``validation``, ``folds`` or, where nothing could be chosen, ``nothing``.
        train_: The classifier fitted on training clips only.
        all_: The one fitted on training and validation clips: what :meth:`predict` uses.
        calibration_: How sure it may be.

    >>> x, y = np.array([[0.0], [1.0], [4.0], [5.0]]), ["low", "low", "high", "high"]
    >>> Probe().fit(x, y).predict([[0.5], [4.5]]).tolist()
    ['low', 'high']
    """

    classes_: NDArray[np.str_]
    setting_: Setting
    scores_: dict[Setting, float]
    chosen_on_: str
    train_: Linear
    all_: Linear
    calibration_: Calibration

    def __init__(
        self,
        *,
        strengths: Sequence[float] = STRENGTHS,
        lda: bool = True,
        min_valid: int = 50,
        min_valid_per_class: int = 5,
        min_valid_groups: int = 5,
        n_folds: int = 5,
        few: int = 300,
        seed: int = 0,
        kind: LabelKind = SINGLE_LABEL,
    ) -> None:
        if not strengths or min(strengths) <= 0:
            raise UserError(f"strengths={list(strengths)} must be positive numbers, one or more")
        if n_folds < 2:
            raise UserError(f"n_folds={n_folds} must be at least 2")
        self.strengths, self.lda = sorted(strengths, reverse=True), lda and kind is SINGLE_LABEL
        self.min_valid, self.min_valid_per_class = min_valid, min_valid_per_class
        self.min_valid_groups = min_valid_groups
        self.n_folds, self.few, self.seed, self.kind = n_folds, few, seed, kind

    def fit(
        self,
        features: ArrayLike,
        labels: ArrayLike,
        *,
        valid: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Probe:
        """Choose and fit a classifier.

        Args:
            features: Training and validation features, (N, D).
            labels: Their labels, (N,).
            valid: Which of them are validation clips, (N,) bool; None: none is.
            groups: Speaker or recording of each clip, (N,); None: unknown.

        Raises:
            UserError: Fewer than 2 classes to train on, features that are not finite, or lengths
                that differ.
        """
        x, names = _finite(features), np.asarray(labels, dtype=object).astype(str)
        held = np.zeros(len(x), bool) if valid is None else np.asarray(valid, bool)
        units = np.arange(len(x)) if groups is None else _codes(groups)
        if not len(x) == len(names) == len(held) == len(units):
            raise UserError(
                f"{len(x)} feature rows, {len(names)} labels, {len(held)} marks of validation and "
                f"{len(units)} groups; give one of each for every clip"
            )
        self.classes_ = self.kind.classes(names)
        if len(self.kind.classes(names[~held])) < 2:
            raise UserError(
                f"the training clips are all of class {self.kind.classes(names[~held]).tolist()}; "
                "a probe needs at least 2 classes: label more clips or change the split"
            )
        y = self.kind.targets(names, self.classes_)
        splits = self._splits(self.kind.strata(names), held, None if groups is None else units)
        rows, logits = self._held_out_logits(x, y, splits)
        self._choose(y[rows], units[rows], logits)
        self.calibration_ = calibrate(y[rows], logits.get(self.setting_), len(self.classes_))
        self.all_ = self._fitted(x, y)
        self.train_ = self._fitted(x[~held], y[~held]) if held.any() else self.all_
        return self

    def decision_function(self, features: ArrayLike) -> NDArray[np.float32]:
        """Return the logits of each class, (N, C)."""
        x = _finite(features)
        if x.shape[1] != len(self.all_.mean):
            raise UserError(
                f"features have {x.shape[1]} dimensions, the probe was fitted on "
                f"{len(self.all_.mean)}; embed both with the same embedder"
            )
        return self.all_.logits(x)

    def predict(self, features: ArrayLike) -> NDArray[np.str_]:
        """Return the class of each row, or its set of classes, (N,)."""
        return self.kind.predicted(self.decision_function(features), self.classes_)

    def score(self, features: ArrayLike, labels: ArrayLike) -> float:
        """Return the balanced accuracy, or the mAP of a multi-label probe."""
        known = np.union1d(self.classes_, self.kind.classes(labels))
        logits = with_unknown(self.decision_function(features), self.classes_, known)
        return self.kind.score(self.kind.targets(labels, known), logits)

    def __repr__(self) -> str:
        if not hasattr(self, "all_"):
            return f"Probe(strengths={self.strengths}, lda={self.lda})"
        return f"Probe({self.setting_}, classes={len(self.classes_)}, dim={len(self.all_.mean)})"

    def _splits(
        self, strata: NDArray[np.str_], held: NDArray[np.bool_], groups: Rows | None
    ) -> list[tuple[Rows, Rows]]:
        """Return pairs of rows to fit on and rows to score; note where they come from."""
        fewest = min(np.count_nonzero(strata[held] == name) for name in np.unique(strata))
        enough = held.sum() >= self.min_valid and fewest >= self.min_valid_per_class
        if enough and (groups is None or len(np.unique(groups[held])) >= self.min_valid_groups):
            self.chosen_on_ = "validation"
            return [(np.flatnonzero(~held), np.flatnonzero(held))]
        repeats = min(_MOST_REPEATS, -(-self.few // len(strata)))
        splits = [
            (fit, score)
            for repeat in range(repeats)
            for fit, score in self._folds(strata, groups, repeat)
            if len(np.unique(strata[fit])) > 1
        ]
        self.chosen_on_ = "folds" if splits else "nothing"
        return splits[:1] if len(strata) > _MANY else splits

    def _folds(
        self, strata: NDArray[np.str_], groups: Rows | None, repeat: int
    ) -> Iterator[tuple[Rows, Rows]]:
        most = np.unique(strata, return_counts=True)[1].max()
        n_units = len(strata) if groups is None else len(np.unique(groups))
        n_folds = min(self.n_folds, int(most), n_units)
        if n_folds < 2:
            return
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        folds = kind(n_folds, shuffle=True, random_state=(self.seed + repeat) % 2**32)
        with warnings.catch_warnings():  # a class of fewer clips than folds is no mistake here
            warnings.simplefilter("ignore", UserWarning)
            yield from (pair for pair in folds.split(strata, strata, groups) if len(pair[1]))

    def _held_out_logits(
        self, x: NDArray[np.float32], y: NDArray[Any], splits: Sequence[tuple[Rows, Rows]]
    ) -> tuple[Rows, dict[Setting, NDArray[np.float32]]]:
        """Return the rows that are scored and every setting's logits of them."""
        found: dict[Setting, list[NDArray[np.float32]]] = defaultdict(list)
        for fit, score in splits:
            data, best, worse = Standardised(x[fit], y[fit], len(self.classes_)), -1.0, 0
            if self.lda:
                found[LDA].append(shrinkage_lda(data).logits(x[score]))
            path = logistic_path(data, self.strengths, tolerance=_ROUGH)
            for strength, linear in zip(self.strengths, path, strict=True):
                found[strength].append(linear.logits(x[score]))
                now = self.kind.score(y[score], found[strength][-1])
                best, worse = max(best, now), worse + 1 if now < best else 0
                if worse == PATIENCE and len(splits) == 1:  # weaker penalties only take longer
                    break
        rows = [score for _, score in splits] or [np.empty(0, np.int64)]
        return np.concatenate(rows), {key: np.concatenate(parts) for key, parts in found.items()}

    def _choose(
        self, truth: NDArray[Any], units: Rows, logits: dict[Setting, NDArray[np.float32]]
    ) -> None:
        self.scores_ = {key: self.kind.score(truth, logits[key]) for key in logits}
        penalties = [key for key in self.strengths if key in self.scores_]
        if not penalties or max(self.scores_.values()) == 0:  # each class has one clip or group
            self.scores_, self.chosen_on_ = {}, "nothing"
            self.setting_ = min(self.strengths, key=lambda s: abs(np.log(s / WITHOUT_CHOICE)))
            log.debug("too few clips to choose a penalty: %g is used", self.setting_)
            return
        self.setting_ = best = max(penalties, key=lambda strength: self.scores_[strength])
        if self.lda:
            gain, error = _gain(truth, logits[LDA], logits[best], units)
            self.setting_ = LDA if gain > error else best

    def _fitted(self, x: NDArray[np.float32], y: NDArray[Any]) -> Linear:
        data = Standardised(x, y, len(self.classes_))
        if self.setting_ == LDA:
            return shrinkage_lda(data)
        return next(logistic_path(data, [float(self.setting_)], tolerance=_FINE))


def _gain(
    truth: Rows, first: NDArray[np.float32], second: NDArray[np.float32], units: Rows
) -> tuple[float, float]:
    """Return the gain in balanced accuracy of first over second, and its standard error."""
    share = 1 / np.bincount(truth)[truth] / len(np.unique(truth))
    change = share * ((first.argmax(1) == truth).astype(float) - (second.argmax(1) == truth))
    by_unit = np.bincount(np.unique(units, return_inverse=True)[1], change)
    n = len(by_unit)
    return float(change.sum()), float(n * by_unit.std(ddof=1) / n**0.5) if n > 1 else np.inf


def _codes(groups: ArrayLike) -> Rows:
    return np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)[1]


def _finite(features: ArrayLike) -> NDArray[np.float32]:
    rows = np.ascontiguousarray(features, dtype=np.float32)
    if rows.ndim != 2:
        raise UserError(f"features have shape {rows.shape}, expected (N, D)")
    broken = ~np.isfinite(rows).all(1)
    if broken.any():
        raise UserError(
            f"{broken.sum()} of {len(rows)} feature rows are not finite (first: row "
            f"{broken.argmax()}); the encoder diverged or a clip is damaged"
        )
    return rows
