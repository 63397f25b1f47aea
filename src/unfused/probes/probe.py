"""The linear probe, logistic regression or shrinkage LDA, and neighbours, chosen on held-out clips.

Labels are few, so each is used twice: first to choose, on validation clips or by folds, then to
fit the chosen classifier to all of them. The clips held out while choosing also say how sure the
classifier may be (:mod:`.calibration`). Clips without a label help, too (:mod:`.self_training`).
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.neighbors import KNeighborsRegressor

from ..core.errors import UserError
from ..embeddings.read_out import Floats
from ..scores.intervals import interval
from ..tasks.label_kinds import SINGLE_LABEL, LabelKind
from .calibration import calibrate
from .linear_models import Standardised, logistic_path, threads_for
from .results import prediction_table, score_labels
from .self_training import Unlabelled

STRENGTHS = (1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4)
WITHOUT_CHOICE = 1e-2
"""The penalty where there are too few clips to choose one."""
PATIENCE = 3
"""So many penalties in a row that are worse than the best end the path."""
MIN_VALID, MIN_VALID_PER_CLASS, MIN_VALID_GROUPS = 50, 5, 5
"""With fewer validation clips, fewer of some class, or clips of fewer groups, folds choose."""
N_FOLDS, FEW = 5, 300
"""Fewer clips are dealt into folds anew, at most three times, until so many are predicted."""
FEW_PER_CLASS = 10
"""With fewer clips of a typical class (the median) LDA is taken, or self-training, which have no
penalty to choose: folds of so few mislead (docs/results.md). Where nothing can be held out and no
clip without a label helps it stays :data:`WITHOUT_CHOICE`."""
VALIDATION, FOLDS, NOTHING = "validation", "folds", "nothing"
"""What a probe can be chosen on."""
LDA, SELF_TRAINING = WITHOUT_PENALTY = "lda", "self-training"
NEIGHBOURS = (50, 20, 10, 5, 1)
"""Values of k to choose from; more than there are clips means all of them."""
TEMPERATURE = 0.07
_FINE = 0.3  # tolerance of the penalty chosen, as a share of that while they are compared
_MANY = 20_000  # clips; from here on one split says enough
_MOST_REPEATS = 3
_RESAMPLES = 200  # for standard errors
Rows = NDArray[np.int64]
Setting = float | str
"""A penalty, :data:`LDA` or :data:`SELF_TRAINING`."""


class Probe:
    """A linear classifier on embeddings, its kind and penalty chosen on held-out clips.

    Candidates are logistic regression (mean cross-entropy + strength / 2 * ||W||^2) at each
    penalty and, where a clip has one label, shrinkage LDA and, with as many clips without a label
    as with one, self-training. The best score is chosen (balanced accuracy; of several labels mAP),
    the stronger penalty on a tie, then self-training, LDA last. With very few clips of a class
    (:data:`FEW_PER_CLASS`) LDA alone is a candidate, or self-training where there is enough for it.

    Validation clips choose. Where they are so few that luck would (:data:`MIN_VALID`), folds of
    training and validation clips together do; groups are kept whole, classes spread evenly.

    Args:
        strengths: Penalties to choose from.
        lda: Whether LDA is a candidate, and self-training.
        seed: Seed of the folds; nothing else is random.
        kind: Whether a label is one class or a set of classes.

    Attributes:
        classes_: Sorted class names, (C,).
        setting_: The penalty chosen, ``"lda"`` or ``"self-training"``.
        scores_: Setting -> score on held-out clips; empty where nothing could be chosen.
        validation_: That of the setting chosen; NaN where nothing could be chosen.
        validation_error_: Its standard error.
        chosen_on_: ``validation``, ``folds`` or, where nothing could be chosen, ``nothing``.
        train_: The classifier fitted on training clips only.
        all_: The one fitted on training and validation clips: what :meth:`predict` uses.
        calibration_: How sure it may be.

    >>> x, y = np.array([[0.0], [1.0], [4.0], [5.0]]), ["low", "low", "high", "high"]
    >>> Probe().fit(x, y).predict([[0.5], [4.5]]).tolist()
    ['low', 'high']
    """

    _calibrated = True

    def __init__(
        self,
        *,
        strengths: Sequence[float] = STRENGTHS,
        lda: bool = True,
        seed: int = 0,
        kind: LabelKind = SINGLE_LABEL,
    ) -> None:
        if not strengths or min(strengths) <= 0:
            raise UserError(f"strengths={list(strengths)} must be positive numbers, one or more")
        self.strengths = sorted(strengths, reverse=True)
        self.lda, self.seed, self.kind = lda and kind is SINGLE_LABEL, seed, kind

    def fit(
        self,
        features: ArrayLike,
        labels: ArrayLike,
        *,
        valid: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        unlabelled: Unlabelled | None = None,
    ) -> Probe:
        """Choose and fit a classifier on training and validation features, (N, D).

        Their labels are (N,); ``valid`` says which are validation clips, (N,) bool, None: none is;
        ``groups`` are their speakers or recordings, (N,), None: unknown; ``unlabelled`` are other
        clips of the task, which may be heard without their labels, in every fold, whoever made
        them.

        Raises:
            UserError: Fewer than 2 classes to train on, features that are not finite, or lengths
                that differ.
        """
        x, names = _finite(features), np.asarray(labels, dtype=object).astype(str)
        held = np.zeros(len(x), bool) if valid is None else np.asarray(valid, bool)
        units = None if groups is None else np.asarray(groups, dtype=object).astype(str)
        n = len(x), len(names), len(held), len(x if units is None else units)
        if len(set(n)) > 1:
            raise UserError(
                "{} feature rows, {} labels, {} marks of validation and {} groups; give one of "
                "each for every clip".format(*n)
            )
        if units is not None:
            units = np.unique(units, return_inverse=True)[1]
        self.classes_, learnable = self.kind.classes(names), self.kind.classes(names[~held])
        if len(learnable) < 2:
            raise UserError(
                f"the training clips are all of class {learnable.tolist()}; a probe needs at least "
                "2 classes: label more clips or change the split"
            )
        y = self.kind.targets(names, self.classes_)
        strata = self.kind.strata(names)
        enough = self.lda and unlabelled is not None and len(unlabelled) >= len(x)
        self._unlabelled = unlabelled if enough else None
        self._few = self.lda and np.median(np.unique(strata, return_counts=True)[1]) < FEW_PER_CLASS
        splits = self._splits(strata, held, units)
        with threads_for(x):
            logits, how_far, learnt = self._held_out(x, y, splits)
        rows = np.array([row for _, _, score in splits for row in score], dtype=np.int64)
        self.scores_ = {key: self.kind.score(y[rows], found) for key, found in logits.items()}
        if max(self.scores_.values(), default=0) == 0:  # one clip or group of each class
            self.scores_, self.chosen_on_ = {}, NOTHING
            self.validation_ = self.validation_error_ = np.nan
            self.setting_ = self._without_choice(len(x))
        else:
            self.setting_ = max(
                self.scores_, key=lambda key: (self.scores_[key], key not in WITHOUT_PENALTY)
            )
            table = prediction_table(
                logits[self.setting_], self.classes_, self.kind, labels=names[rows],
                clip_ids=rows, groups=None if units is None else units[rows],
            ).assign(seed=[number for number, _, score in splits for _ in score])  # fmt: skip
            of_choice = interval(table, self.kind.chosen_by, n=_RESAMPLES)
            self.validation_ = self.scores_[self.setting_]
            self.validation_error_ = of_choice.standard_error
        given = logits.get(self.setting_)
        self.calibration_ = calibrate(y[rows], given, *how_far, len(self.classes_))
        self._dim = x.shape[1]
        with threads_for(x):
            if held.any():
                if self.chosen_on_ != VALIDATION:  # else it is that already
                    learnt = self._learnt(x[~held], y[~held])
                self.train_ = self._fitted(learnt, self.setting_)
            del learnt  # there is room for one
            self.all_ = self._fitted(self._learnt(x, y), self.setting_)
        if not held.any():
            self.train_ = self.all_
        self._unlabelled = None
        return self

    def decision_function(self, features: ArrayLike) -> Floats:
        """Return the logits of each class, (N, C)."""
        x = _finite(features)
        if x.shape[1] != self._dim:
            raise UserError(
                f"features have {x.shape[1]} dimensions, the probe was fitted on {self._dim}; "
                "embed both with the same embedder"
            )
        found: Floats = self.all_.logits(x)
        return found

    def predict(self, features: ArrayLike) -> NDArray[np.str_]:
        """Return the class of each row, or its set of classes, (N,)."""
        return self.kind.predicted(self.decision_function(features), self.classes_)

    def score(self, features: ArrayLike, labels: ArrayLike) -> float:
        """Return the balanced accuracy, or the mAP of a multi-label probe."""
        return score_labels(self.decision_function(features), self.classes_, self.kind, labels)

    def __repr__(self) -> str:
        if not hasattr(self, "all_"):
            return f"{type(self).__name__}()"
        return f"{type(self).__name__}({self.setting_}, {len(self.classes_)} classes)"

    def _splits(
        self, strata: NDArray[np.str_], held: NDArray[np.bool_], groups: Rows | None
    ) -> list[tuple[int, Rows, Rows]]:
        """Return number of repeat, rows to fit on and rows to score; note where they come from."""
        many = len(strata) > _MANY
        classes, counts = np.unique(strata, return_counts=True)
        fewest = min(np.count_nonzero(strata[held] == name) for name in classes)
        enough = held.sum() >= MIN_VALID and (fewest >= MIN_VALID_PER_CLASS or many)
        if enough and (groups is None or len(np.unique(groups[held])) >= MIN_VALID_GROUPS):
            self.chosen_on_ = VALIDATION
            return [(0, np.flatnonzero(~held), np.flatnonzero(held))]
        n_units = len(strata) if groups is None else len(np.unique(groups))
        n_folds, splits = min(N_FOLDS, int(counts.max()), n_units), []
        clips = tuple(strata), None if groups is None else tuple(groups)
        for repeat in range(min(_MOST_REPEATS, -(-FEW // len(strata))) if n_folds > 1 else 0):
            pairs = _folds(*clips, n_folds, (self.seed + repeat) % 2**32)
            splits += [
                (repeat, fit, score)
                for fit, score in pairs
                if len(score) and len(np.unique(strata[fit])) > 1
            ]
        self.chosen_on_ = FOLDS if splits else NOTHING
        return splits[:1] if many else splits

    def _held_out(
        self, x: Floats, y: NDArray[Any], splits: Sequence[tuple[int, Rows, Rows]]
    ) -> tuple[dict[Setting, Floats], tuple[Floats | None, NDArray[np.bool_]], Any]:
        """Return every setting's logits of the rows that are scored, and what the last learnt from.

        With them the rows' distances, None if there is nothing to calibrate, and which classes
        could be learnt there.
        """
        found: dict[Setting, list[Floats]] = defaultdict(list)
        far, told, learnt = [], [], None
        for _, fit, score in splits:
            best, worse, learnt = -1.0, 0, self._learnt(x[fit], y[fit])
            for setting, model in self._models(learnt):
                found[setting].append(logits := model.logits(x[score]))
                now = self.kind.score(y[score], logits) if len(splits) == 1 else best
                if setting not in WITHOUT_PENALTY:
                    best, worse = max(best, now), worse + 1 if now < best else 0
                if worse == PATIENCE:  # weaker penalties only take longer
                    break
            if self._calibrated:
                far.append(model.distances(x[score]))  # the same for every setting
            hits = self._hits(y[fit])
            told.append(np.tile(hits.any(0) & ~hits.all(0), (len(score), 1)))
        joined = {key: np.concatenate(parts) for key, parts in found.items()}
        how_far = np.concatenate(far) if far else None
        return joined, (how_far, np.concatenate(told or [np.empty((0, 0), bool)])), learnt

    def _hits(self, y: NDArray[Any]) -> Floats:
        return y if y.ndim == 2 else np.eye(len(self.classes_), dtype=np.float32)[y]

    def _learnt(self, x: Floats, y: NDArray[Any]) -> Any:
        """Return what models of every setting are fitted to."""
        return Standardised(x, y, len(self.classes_))

    def _models(self, learnt: Any) -> Iterator[tuple[Setting, Any]]:
        """Yield every setting with what :meth:`_fitted` would return, but fitted less finely."""
        if self._unlabelled is not None:
            yield SELF_TRAINING, self._unlabelled.lda(learnt)
            if self._few:
                return
        if self.lda:
            yield LDA, learnt.lda
        if not self._few:
            yield from zip(self.strengths, logistic_path(learnt, self.strengths), strict=True)

    def _without_choice(self, n: int) -> Setting:
        """Return the setting where nothing can choose one, of ``n`` clips."""
        if self._unlabelled is not None:
            return SELF_TRAINING
        return min(self.strengths, key=lambda strength: abs(np.log(strength / WITHOUT_CHOICE)))

    def _fitted(self, learnt: Any, setting: Setting) -> Any:
        """Return what has ``logits``, as :class:`~unfused.probes.linear_models.Linear` has."""
        if setting == LDA:
            return learnt.lda
        if setting == SELF_TRAINING and self._unlabelled is not None:
            return self._unlabelled.lda(learnt)
        return next(logistic_path(learnt, [float(setting)], tolerance=_FINE))


class KNNProbe(Probe):
    """Classes of the nearest clips by cosine, each weighted ``exp(-distance / TEMPERATURE)``.

    The protocol of X-ARES (k=10, temperature 0.07), but k is chosen as :class:`Probe` chooses its
    penalty. Its logits are shares of the votes, of several labels the shares above one half.

    >>> x = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> KNNProbe().fit(x, ["a", "a", "b", "b"]).predict([[0.1, 1.0]]).tolist()
    ['b']
    """

    _calibrated = False

    def __init__(self, *, seed: int = 0, kind: LabelKind = SINGLE_LABEL) -> None:
        super().__init__(lda=False, seed=seed, kind=kind)

    def _learnt(self, x: Floats, y: NDArray[Any]) -> Any:
        return x, self._hits(y)

    def _models(self, learnt: Any) -> Iterator[tuple[Setting, Any]]:
        for k in NEIGHBOURS:
            yield k, self._fitted(learnt, k)

    def _without_choice(self, n: int) -> Setting:
        return min(10, n)

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


@lru_cache(maxsize=64)  # every encoder's probe asks for the same ones
def _folds(
    strata: tuple[str, ...], groups: tuple[int, ...] | None, n_folds: int, seed: int
) -> list[tuple[Rows, Rows]]:
    """Return rows to fit on and rows to score of each fold, groups whole, classes spread evenly."""
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = kind(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # a class of fewer clips than folds is no mistake here
        warnings.simplefilter("ignore", UserWarning)
        return list(folds.split(strata, strata, groups))


def _finite(features: ArrayLike) -> Floats:
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
