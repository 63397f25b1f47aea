"""Linear probe: logistic regression on standardised features, its penalty chosen on validation.

The problem is convex, so there is one optimum: no learning rate, no early stopping, no noise from
a seed. (EVAR and LAPE train the same layer with Adam; LAPE reports the best test epoch.)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..core.errors import UserError
from ..tasks.label_kinds import SINGLE_LABEL, LabelKind
from .inner_folds import inner_folds
from .logistic_path import Classifier, LogisticPath, Solution, Standardised

log = logging.getLogger(__name__)
STRENGTHS = (1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_WITHOUT_CHOICE = 1e-2
ROUGH = 3e-4
"""Largest entry of the gradient up to which the penalties are compared; the one that is chosen is
then solved to the probe's own tolerance."""
PATIENCE = 3
"""So many penalties in a row that are worse than the best on validation end the path."""


class LinearProbe:
    """Minimise mean cross-entropy + strength / 2 * ||W||^2, the bias being free.

    scikit-learn's ``LogisticRegression`` has the same optimum at C = 1 / (N * strength).

    Args:
        strengths: Penalties to choose from.
        n_folds: Folds inside the training clips where there are no validation clips.
        tolerance: Largest entry of the gradient at which L-BFGS stops.
        max_iterations: Iterations of L-BFGS for each strength.
        seed: Seed of the inner folds; nothing else is random.
        kind: Whether a label is one class or a set of classes.

    Attributes:
        classes_: Sorted class names, (C,).
        classifier_: Weights, biases and scaler.
        strength_: The penalty chosen: best balanced accuracy (several labels: best mAP) on
            validation, the stronger penalty on a tie.
        scores_: Strength -> that score at the tolerance :data:`ROUGH`, as far as the path was
            followed; empty where nothing could be chosen.

    >>> x, y = np.array([[0.0], [1.0], [4.0], [5.0]]), ["low", "low", "high", "high"]
    >>> LinearProbe().fit(x, y, x, y)
    LinearProbe(strength=10.0, classes=2, features=1)
    """

    classes_: NDArray[np.str_]
    classifier_: Classifier
    strength_: float
    scores_: dict[float, float]

    def __init__(
        self,
        *,
        strengths: Sequence[float] = STRENGTHS,
        n_folds: int = 5,
        tolerance: float = 1e-5,
        max_iterations: int = 500,
        seed: int = 0,
        kind: LabelKind = SINGLE_LABEL,
    ) -> None:
        if not strengths or min(strengths) <= 0:
            raise UserError(f"strengths={list(strengths)} must be positive numbers, one or more")
        if n_folds < 2:
            raise UserError(f"n_folds={n_folds} must be at least 2")
        self.strengths = sorted(strengths, reverse=True)
        self.n_folds = n_folds
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self._rough = max(tolerance, ROUGH)
        self.seed = seed
        self.kind = kind

    def fit(
        self,
        x_train: ArrayLike,
        y_train: ArrayLike,
        x_valid: ArrayLike | None = None,
        y_valid: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
    ) -> LinearProbe:
        """Fit scaler and weights on the training clips; choose the penalty on the others.

        Args:
            x_train: Training features, (N, D).
            y_train: Training labels, (N,).
            x_valid: Validation features, (M, D); None or no rows: inner folds of the training
                clips choose.
            y_valid: Validation labels, (M,).
            groups: Speaker or recording of each training clip, (N,); inner folds keep it whole.

        Raises:
            ValueError: Fewer than 2 classes, features that are not finite, or shapes that differ.
        """
        x, y = _labelled(x_train, y_train, "training")
        self.classes_ = self.kind.classes(y)
        if len(self.classes_) < 2:
            raise UserError(
                f"the training clips are all of class {self.classes_.tolist()}; a probe needs at "
                "least 2 classes: label more clips or change the split"
            )
        if x_valid is None or y_valid is None or not len(np.asarray(y_valid)):
            self._choose_by_folds(x, y, groups)
        else:
            self._choose(x, y, *_labelled(x_valid, y_valid, "validation"))
        self.strength_ = self.classifier_.strength
        return self

    def decision_function(self, x: ArrayLike) -> NDArray[np.float32]:
        """Return the logits of each class, (N, C)."""
        rows = _features(x, "evaluated")
        if rows.shape[1] != len(self.classifier_.mean):
            raise UserError(
                f"features have {rows.shape[1]} dimensions, the probe was fitted on "
                f"{len(self.classifier_.mean)}; embed both at the same cut"
            )
        return self.classifier_.logits(rows)

    def predict(self, x: ArrayLike) -> NDArray[np.str_]:
        """Return the class of each row, or its set of classes, (N,)."""
        return self.kind.predicted(self.decision_function(x), self.classes_)

    def score(self, x: ArrayLike, y: ArrayLike) -> float:
        """Return the balanced accuracy, or the mAP of a multi-label probe."""
        decided = self.kind.decide(self.decision_function(x), self.classes_, self.classes_)
        return self.kind.score(y, decided, self.classes_)

    def head(self) -> tuple[Tensor, Tensor]:
        """Return weight (C, D) and bias (C,) of this classifier on features as they come."""
        fitted = self.classifier_
        weight = fitted.weight / fitted.scale
        return torch.from_numpy(weight), torch.from_numpy(fitted.bias - weight @ fitted.mean)

    def __repr__(self) -> str:
        if not hasattr(self, "strength_"):
            return f"LinearProbe(strengths={self.strengths})"
        n_classes, dimension = self.classifier_.weight.shape
        return f"LinearProbe(strength={self.strength_}, classes={n_classes}, features={dimension})"

    def _choose(
        self, x: NDArray[np.float32], y: NDArray, x_valid: NDArray[np.float32], y_valid: NDArray
    ) -> None:
        if x_valid.shape[1] != x.shape[1]:
            raise UserError(
                f"validation features have {x_valid.shape[1]} dimensions, training features "
                f"{x.shape[1]}; embed both at the same cut"
            )
        self.scores_, worse = {}, 0
        path = self._path(x, y)
        projected = path.project(x_valid)
        for strength in self.strengths:
            solution = path.solve(strength, self._rough, self.max_iterations)
            logits = path.logits(solution, projected)
            decided = self.kind.decide(logits, self.classes_, self.classes_)
            score = self.kind.score(y_valid, decided, self.classes_)
            best = max(self.scores_.values(), default=-2.0)
            if score > best:
                chosen = solution
            self.scores_[strength] = score
            worse = worse + 1 if score < best else 0
            if worse == PATIENCE:  # weaker penalties only take longer
                break
        self._finish(path, chosen)

    def _choose_by_folds(
        self, x: NDArray[np.float32], y: NDArray, groups: ArrayLike | None
    ) -> None:
        self.scores_ = self._fold_scores(x, y, groups)
        if self.scores_:
            chosen = max(self.strengths, key=lambda strength: self.scores_[strength])
        else:
            chosen = min(
                self.strengths, key=lambda strength: abs(np.log(strength / _WITHOUT_CHOICE))
            )
            log.debug("too few clips to choose a penalty: strength %g is used", chosen)
        path = self._path(x, y)
        for strength in (strength for strength in self.strengths if strength >= chosen):
            rough = path.solve(strength, self._rough, self.max_iterations)
        self._finish(path, rough)

    def _finish(self, path: LogisticPath, rough: Solution) -> None:
        path.resume(rough)
        solution = path.solve(rough.strength, self.tolerance, self.max_iterations)
        self.classifier_ = path.classifier(solution)

    def _path(self, x: NDArray[np.float32], y: NDArray) -> LogisticPath:
        targets = self.kind.targets(y, self.kind.classes(y))
        return LogisticPath(Standardised.of(x, targets))

    def _fold_scores(
        self, x: NDArray[np.float32], y: NDArray, groups: ArrayLike | None
    ) -> dict[float, float]:
        """Return the score of each strength over all held-out folds together."""
        kind, known = self.kind, self.classes_
        fold = inner_folds(kind.strata(y), groups, n_folds=self.n_folds, seed=self.seed)
        decided: dict[float, list[NDArray]] = {strength: [] for strength in self.strengths}
        scored: list[NDArray[np.int64]] = []
        for held_out in (fold == k for k in range(fold.max() + 1)):
            classes = kind.classes(y[~held_out])
            if len(classes) < 2:
                continue
            scored.append(np.flatnonzero(held_out))
            path = self._path(x[~held_out], y[~held_out])
            projected = path.project(x[held_out])
            for strength in self.strengths:
                solution = path.solve(strength, self._rough, self.max_iterations)
                logits = path.logits(solution, projected)
                decided[strength].append(kind.decide(logits, classes, known))
        if not scored:
            return {}
        truth = y[np.concatenate(scored)]
        scores = {
            s: kind.score(truth, np.concatenate(found), known) for s, found in decided.items()
        }
        # each class has one clip or group: held out, it cannot be learnt
        return scores if max(scores.values()) > 0 else {}


def _labelled(x: ArrayLike, y: ArrayLike, part: str) -> tuple[NDArray[np.float32], NDArray]:
    rows, labels = _features(x, part), np.asarray(y, dtype=object).astype(str)
    if len(rows) != len(labels):
        raise UserError(
            f"{len(rows)} {part} feature rows but {len(labels)} labels; give one label a row"
        )
    return rows, labels


def _features(x: ArrayLike, part: str) -> NDArray[np.float32]:
    rows = np.ascontiguousarray(x, dtype=np.float32)
    if rows.ndim != 2:
        raise UserError(f"{part} features have shape {rows.shape}, expected (N, D)")
    broken = ~np.isfinite(rows).all(1)
    if broken.any():
        raise UserError(
            f"{broken.sum()} of {len(rows)} {part} feature rows are not finite (first: row "
            f"{broken.argmax()}); the encoder diverged or a clip is damaged"
        )
    return rows
