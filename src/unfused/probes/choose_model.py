"""Which classifier to use: by its score on clips that are no test clips, and by its size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import UserError
from ..scores.intervals import difference, interval
from .candidates import PLAIN, Candidate
from .probe import FOLDS
from .results import NO_CONTROLS, TRAIN, TRAIN_VALID

_KEY = ["encoder", "source", "read_out", "protocol"]
DEPLOYABLE = ("linear_probe", "fine_tuning")
"""Protocols whose classifiers can be saved and used."""


def choose_model(
    results: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    plain_from: pd.DataFrame | None = None,
    controls: bool = False,
) -> dict[str, Any]:
    """Return the classifier of a task to use: the best on validation, or one as good and smaller.

    Of those within one standard error of the best validation score, the one with the fewest
    parameters, or where folds chose the best, see :func:`model_to_use`. Test clips choose
    nothing; they only say how good the choice is: its accuracy, of several labels a clip its mAP.
    The rows are those of one task; students on a control's pseudo-labels are left out unless
    ``controls``; the plain alternative is looked for among the result rows ``plain_from``, or the
    same ones.

    Returns:
        JSON values: ``encoder``, ``source``, ``read_out`` and ``protocol`` as in the results,
        ``seed`` and ``fold`` of the repeat that validated best, ``parameters`` (trained ones that a
        vector takes), ``validation`` (mean score on clips that are no test clips),
        ``best_validation`` (that of the best of ``n_candidates``), ``validation_error`` (standard
        error of the latter); the fields of an :class:`~unfused.scores.intervals.Interval` as
        ``score`` on test clips, ``plain`` (that of the best plain alternative, ``plain_encoder``)
        and ``gain`` (their difference on the same clips), the last two None where there is no
        alternative; ``title`` and ``why`` for people.

    Raises:
        UserError: No row can be deployed, or none has a validation score.
    """
    once, scored = _scores(results, controls)
    scored = comparable(scored)
    chosen, best = model_to_use(scored), scored.loc[scored["validation"].idxmax()]
    repeat = _of(once, chosen).sort_values("validation").iloc[-1]
    mine = _used(predictions, chosen)
    found = {
        **dict(zip(_KEY, chosen, strict=True)),
        **{name: int(repeat[name]) for name in ("seed", "fold")},
        "parameters": int(scored.loc[chosen, "parameters"]),
        "validation": float(scored.loc[chosen, "validation"]),
        "best_validation": float(best["validation"]),
        "validation_error": float(best["error"]),
        "n_candidates": len(scored),
        "score": asdict(interval(mine)),
        **{"plain": None, "gain": None, "plain_encoder": ""},
    }
    every = scored if plain_from is None else _scores(plain_from)[1]
    plain_ones = every[every.index.get_level_values("encoder").isin(PLAIN)]
    if len(plain_ones):
        rival = model_to_use(plain_ones)
        theirs = _used(predictions, rival)
        found["plain"], found["gain"] = asdict(interval(theirs)), asdict(difference(mine, theirs))
        found["plain_encoder"] = rival[0]
    named = [found["encoder"], found["read_out"], found["protocol"].replace("_", " ")]
    why = "{validation:.3f} on validation: the best validation score of {n_candidates} classifiers"
    if found["validation"] < found["best_validation"]:
        first = "the best encoder" if by_folds(scored) else "the fewest parameters ({parameters:,})"
        why = (
            f"{{validation:.3f}} on validation: {first} of those within one standard error "
            "({validation_error:.3f}) of the best of {n_candidates} classifiers, "
            "{best_validation:.3f}"
        )
    return {**found, "why": why.format(**found), "title": ", ".join(filter(None, named))}


def candidate_of(chosen: Mapping[str, Any], candidates: Iterable[Candidate]) -> Candidate | None:
    """Return what the chosen classifier is a probe of; None: it was trained end to end."""
    if chosen["protocol"] != "linear_probe":
        return None
    wanted = {name: chosen[name] for name in ("source", "read_out", "seed", "fold")}
    wanted["label"] = chosen["encoder"]
    return next(item for item in candidates if wanted.items() <= asdict(item).items())


def _scores(results: pd.DataFrame, controls: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows that can be deployed, one a fit, and the scores of their classifiers."""
    rows = results[
        results["protocol"].isin(DEPLOYABLE)
        & (results["source"].isin(NO_CONTROLS) | controls)
        & results["validation"].notna()
    ]
    if rows.empty:
        raise UserError(
            f"no classifier by {' or '.join(DEPLOYABLE)} has a validation score: label more clips"
        )
    once = rows.drop_duplicates([*_KEY, "seed", "fold"])
    scored = once.groupby(_KEY, sort=False).agg(
        validation=("validation", "mean"), parameters=("parameters", "max"),
        chosen_on=("chosen_on", "first"),
    )  # fmt: skip
    squares = once.assign(square=once["validation_error"] ** 2).groupby([*_KEY, "seed"])["square"]
    error = squares.sum() ** 0.5 / squares.size()  # of the mean over folds; seeds share their clips
    scored["error"] = error.groupby(_KEY).mean()
    return once, scored


def model_to_use(scored: pd.DataFrame) -> Any:
    """Return the row name of the classifier to use.

    That is the smallest of those within one standard error of the best. The table has columns
    ``validation``, its standard ``error``, ``parameters``, and ``chosen_on``; what is not known to
    be small (-1) counts as large. Where folds chose (:func:`by_folds`) the error is so
    large that size would decide: there it is the best, and one without parameters, plain
    statistics, only if nothing else is within the error (docs/results.md). See :func:`comparable`.
    """
    scored = comparable(scored)
    best = scored.loc[scored["validation"].idxmax()]
    within = scored[scored["validation"] >= best["validation"] - np.nan_to_num(best["error"])]
    sizes = within["parameters"].where(within["parameters"] >= 0, np.inf)
    if by_folds(scored):
        sizes = (sizes == 0).astype(float)
    order = within.assign(size=sizes).sort_values(
        ["size", "validation"], ascending=[True, False], kind="stable"
    )
    return order.index[0]


def comparable(scored: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose scores can be compared: where folds chose some, these alone.

    Validation clips are few then, and a network trained end to end chose its epoch on them.
    """
    return scored[scored["chosen_on"] == FOLDS] if by_folds(scored) else scored


def by_folds(scored: pd.DataFrame) -> bool:
    """Return whether folds chose some of the probes, for want of validation clips."""
    return bool((scored["chosen_on"] == FOLDS).any())


def _of(table: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    return table[(table[_KEY] == pd.Series(dict(zip(_KEY, key, strict=True)))).all(axis=1)]


def _used(predictions: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """Return the predictions of a classifier as it is used: fitted on validation clips too."""
    mine = _of(predictions, key)
    fitted_on = TRAIN_VALID if (mine["fitted_on"] == TRAIN_VALID).any() else TRAIN
    return mine[mine["fitted_on"] == fitted_on]
