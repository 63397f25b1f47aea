"""Paired comparisons of the student with what it must beat to be worth anything.

Two encoders are compared on the seeds and clips that both have, with the same resamples for both. A
difference counts only if every interval there is (over test clips or groups, and over seeds from
three seeds on) leaves zero on the same side.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import UserError
from ..core.progress import progress
from ..scores.intervals import paired_bootstrap
from ..scores.metrics import metric_named
from ..scores.ranking_bootstrap import is_ranked
from .aggregate import KEY, checked_predictions, over_seeds, scores_by_seed
from .naming import (
    CONTROLS,
    MULTI_LABEL_METRICS,
    STUDENT,
    STUDENT_FULL,
    TEACHER_SOURCES,
    teacher_of,
)

log = logging.getLogger(__name__)
BETTER, SAME, WORSE = "better", "not distinguishable", "worse"


def compare(
    predictions_a: pd.DataFrame,
    predictions_b: pd.DataFrame,
    *,
    metric: str = "accuracy",
    n_draws: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return how much better encoder a is than encoder b on one task.

    Args:
        predictions_a: ``seed, clip_id, label, predicted[, group]`` of encoder a.
        predictions_b: The same of encoder b.
        metric: A name in :data:`~unfused.scores.metrics.METRICS`; multi-label predictions are
            compared by what takes its place.
        n_draws: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Returns:
        ``metric, mean_a, mean_b, difference`` (fractions, on what they share), ``clip_low``,
        ``clip_high, p_value`` (bootstrap), ``seed_low, seed_high`` (from three shared seeds on;
        else NaN),
        ``low, high`` (the seeds' interval if there is one), ``interval``, ``n_seeds, n_clips,
        n_groups`` and ``outcome``: "better", "not distinguishable" or "worse".

    Raises:
        ValueError: ``metric`` is unknown, or the two share no clip of the same seed.
    """
    a, b = _shared(predictions_a, predictions_b)
    metric = MULTI_LABEL_METRICS.get(metric, metric) if is_ranked(a) else metric
    by_clip = paired_bootstrap(a, b, metric=metric, n=n_draws, seed=seed)
    scores_a, scores_b = scores_by_seed(a, metric), scores_by_seed(b, metric)
    by_seed = over_seeds((scores_a - scores_b).to_numpy())
    seeds_count = bool(np.isfinite(by_seed[0]))
    low, high = by_seed if seeds_count else (by_clip.low, by_clip.high)
    n_groups = a["group"].nunique() if "group" in a else 0
    grouped = f"paired bootstrap over {n_groups} groups of clips"
    words = grouped if n_groups else "paired bootstrap over clips"
    words = "no difference in any resample" if by_clip.in_no_resample else words
    return {
        **{"mean_a": scores_a.mean(), "mean_b": scores_b.mean()},
        **{"difference": scores_a.mean() - scores_b.mean(), "low": low, "high": high},
        "metric": metric,
        "interval": f"t over {len(scores_a)} seeds" if seeds_count else words,
        **{"clip_low": by_clip.low, "clip_high": by_clip.high, "p_value": by_clip.p_value},
        **{"seed_low": by_seed[0], "seed_high": by_seed[1]},
        **{"n_seeds": len(scores_a), "n_clips": a["clip_id"].nunique(), "n_groups": n_groups},
        "outcome": outcome((by_clip.low, by_clip.high), by_seed),
    }


def _shared(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both without their folds (a seed's folds are pooled), where both have predictions."""
    a, b = (part.drop(columns="fold", errors="ignore") for part in (a, b))
    rows_a, rows_b = (pd.MultiIndex.from_frame(part[["seed", "clip_id"]]) for part in (a, b))
    a, b = a[rows_a.isin(rows_b)], b[rows_b.isin(rows_a)]
    if a.empty:
        raise UserError(
            "the two encoders share no test clip of the same seed; evaluate both on one split"
        )
    return a, b


def outcome(*intervals: tuple[float, float]) -> str:
    """Return what intervals of a difference say together; those with NaN are left out.

    >>> outcome((0.01, 0.05), (-0.02, 0.08))
    'not distinguishable'
    """
    known = [bounds for bounds in intervals if np.isfinite(bounds).all()]
    if known and all(low > 0 for low, _ in known):
        return BETTER
    if known and all(high < 0 for _, high in known):
        return WORSE
    return SAME


def student_comparisons(
    results: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    teacher: str | None = None,
    metric: str = "accuracy",
    n_draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the student with its baselines, its teacher and its controls, task by task.

    Args:
        results: Result rows (for sizes).
        predictions: Prediction rows.
        teacher: The method that made its pseudo-labels; None: see
            :func:`~unfused.reporting.naming.teacher_of`.
        metric: What to compare.
        n_draws: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Returns:
        One row per task, protocol and question: ``task, metric, question, encoder_a, source_a,
        cut_a, protocol_a, parameters_a``, the same of b, and everything :func:`compare` returns.
        Questions: ``random_same_cut, teacher_same_cut, teacher_own_cut, full_teacher,
        log_mel_statistics, supervised`` and ``control_<source>``. Both sides have one protocol,
        except that a supervised encoder measured under one only is compared with every student.
        A pair that shares no clip is left out with a warning. Empty without a student.

    Raises:
        ValueError: ``metric`` is unknown, or the prediction rows are not what they should be.
    """
    metric_named(metric)
    predictions = checked_predictions(predictions)
    sizes = results.assign(
        **{column: results[column].fillna("").astype(str) for column in ("source", "cut")}
    )
    sizes = sizes.drop_duplicates(KEY).set_index(KEY)["parameters"].to_dict()
    parts = dict(list(predictions.groupby(KEY, sort=False)))
    teacher = teacher or teacher_of(predictions["encoder"])
    rows = []
    pairs = list(_pairs(list(parts), sizes, teacher))
    bar = progress(pairs, total=len(pairs), desc="comparisons", unit="pair")
    for question, key_a, key_b in bar:
        try:
            compared = compare(
                parts[key_a], parts[key_b], metric=metric, n_draws=n_draws, seed=seed
            )
        except ValueError as error:
            log.warning("%s is not compared with %s: %s", key_a, key_b, error)
            continue
        named = {**_side("a", key_a, sizes), **_side("b", key_b, sizes)}
        rows.append({"task": key_a[0], "question": question, **named, **compared})
    return pd.DataFrame(rows)


Key = tuple[str, str, str, str, str]


def _side(side: str, key: Key, sizes: dict[Key, float]) -> dict[str, Any]:
    columns = ("encoder", "source", "cut", "protocol", "parameters")
    values = (*key[1:], sizes.get(key, np.nan))
    return {f"{column}_{side}": value for column, value in zip(columns, values, strict=True)}


def _pairs(
    keys: list[Key], sizes: dict[Key, float], teacher: str | None
) -> list[tuple[str, Key, Key]]:
    pairs = []
    for student in keys:
        task, encoder, source, cut, protocol = student
        if source not in TEACHER_SOURCES or encoder not in (STUDENT, STUDENT_FULL):
            continue
        of_task = [key for key in keys if key[0] == task]
        rivals = [key for key in of_task if key[4] == protocol]
        if encoder == STUDENT_FULL:
            asked = [("full_teacher", _at(rivals, teacher, cut, sizes))]
        else:
            supervised = [_at(part, "supervised", None, sizes) for part in (rivals, of_task)]
            asked = _questions(rivals, cut, sizes, teacher)
            asked.append(("supervised", supervised[0] or supervised[1]))
        pairs += [(question, student, rival) for question, rival in asked if rival]
    return pairs


def _questions(
    rivals: list[Key], cut: str, sizes: dict[Key, float], teacher: str | None
) -> list[tuple[str, Key | None]]:
    own = _at(rivals, teacher, None, sizes)
    questions = [
        ("random_same_cut", _at(rivals, "random_init", cut, sizes)),
        ("teacher_same_cut", _at(rivals, teacher, cut, sizes)),
        ("teacher_own_cut", own if own and own[3] != cut else None),
        ("log_mel_statistics", _at(rivals, "log_mel_statistics", None, sizes)),
    ]
    for source in CONTROLS:
        control = [key for key in rivals if key[1:4] == (STUDENT, source, cut)]
        questions.append((f"control_{source}", control[0] if control else None))
    return questions


def _at(
    rivals: list[Key], encoder: str | None, cut: str | None, sizes: dict[Key, float]
) -> Key | None:
    """Return the encoder at a cut, or without one at its largest; None if it was not measured."""
    found = [key for key in rivals if key[1] == encoder and cut in (None, key[3])]
    return max(found, key=lambda key: sizes.get(key) or 0, default=None)
