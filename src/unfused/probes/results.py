"""The long tables in which every evaluation is reported: result rows and prediction rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UserError
from ..data.label_sets import BAR, multi_hot
from ..scores.metrics import METRICS, count
from ..scores.ranking import RANKING_METRICS
from ..tasks.label_kinds import SINGLE_LABEL, LabelKind

KEY_COLUMNS = ("encoder", "source", "cut", "protocol", "seed", "fold")
FACT_COLUMNS = (
    "n_train",
    "n_valid",
    "n_test",
    "parameters",
    "dimension",
    "pretraining_clips",
    "regularisation",
    "validation",
    "embedding",
    "transductive",
)
"""``validation`` is the score by which the probe or epoch was chosen (balanced accuracy, with
several labels mAP), on clips that are not test clips; it is the same for every metric."""
RESULT_COLUMNS = ("task", *KEY_COLUMNS, "metric", "value", *FACT_COLUMNS)
PREDICTION_COLUMNS = (
    "task",
    *KEY_COLUMNS,
    *("clip_id", "group", "label", "predicted"),
    *("classes", "scores"),
)
"""``classes`` (names with bars between) and ``scores`` (C,) are those of multi-label tasks."""


class RowKeys(NamedTuple):
    """What was evaluated, and how.

    Attributes:
        encoder: ``random_init``, a method's name, ``unfused``, ``unfused_full``, ``supervised`` or
            ``log_mel_statistics``.
        source: Where its pseudo-labels came from; empty where there are none.
        cut: Tap of the embedding; empty where there is none.
        protocol: ``linear_probe``, ``knn`` or ``fine_tuning``.
        seed: Seed of the whole study.
        fold: Held-out fold; 0 for a fixed split.
    """

    encoder: str
    source: str
    cut: str
    protocol: str
    seed: int
    fold: int


def scored_rows(
    keys: RowKeys,
    clips: pd.DataFrame,
    scores: NDArray[Any],
    classes: NDArray[np.str_],
    kind: LabelKind,
    **facts: object,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return result and prediction rows of a classifier's scores.

    Args:
        keys: What was evaluated.
        clips: ``clip_id``, ``label`` and, where known, ``group`` of each test clip.
        scores: Logits or votes of each clip, (N, C).
        classes: Class names, (C,).
        kind: Whether a label is one class or a set of classes.
        **facts: Values of some of ``FACT_COLUMNS``, and ``task`` where it is known here.
    """
    predicted = kind.predicted(scores, classes)
    guesses = prediction_rows(keys, clips, predicted)
    if kind is SINGLE_LABEL:
        return result_rows(keys, clips["label"], predicted, **facts), guesses
    hits, weights = multi_hot(clips["label"].astype(str), classes), np.ones((1, len(clips)))
    values = {name: metric(scores, hits, weights)[0] for name, metric in RANKING_METRICS.items()}
    rows = pd.DataFrame({"metric": list(values), "value": list(values.values())})
    known = rows.assign(**keys._asdict(), **facts)
    guesses = guesses.assign(classes=BAR.join(classes), scores=list(scores.astype(np.float32)))
    return _in_order(known, RESULT_COLUMNS), _in_order(guesses, PREDICTION_COLUMNS)


def score(labels: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """Return every metric by name.

    >>> score(["a", "a", "b"], ["a", "b", "b"])["balanced_accuracy"]
    0.75
    """
    counts = count(labels, predicted)
    return {name: float(metric(counts)) for name, metric in METRICS.items()}


def result_rows(
    keys: RowKeys, labels: ArrayLike, predicted: ArrayLike, **facts: object
) -> pd.DataFrame:
    """Return one row for each metric.

    Args:
        keys: What was evaluated.
        labels: True labels of the test clips, (N,).
        predicted: Predicted labels, (N,).
        **facts: Values of some of ``FACT_COLUMNS``, and ``task`` where it is known here.

    Raises:
        ValueError: A fact is no column of the result table.
    """
    scores = score(labels, predicted)
    rows = pd.DataFrame({"metric": list(scores), "value": list(scores.values())})
    return _in_order(rows.assign(**keys._asdict(), **facts), RESULT_COLUMNS)


def prediction_rows(
    keys: RowKeys, clips: pd.DataFrame, predicted: ArrayLike, **facts: object
) -> pd.DataFrame:
    """Return one row for each test clip.

    Args:
        keys: What was evaluated.
        clips: ``clip_id``, ``label`` and, where known, ``group`` of each test clip.
        predicted: Predicted labels in the same order, (N,).
        **facts: ``task``, where it is known here.
    """
    rows = pd.DataFrame(
        {
            "clip_id": clips["clip_id"].to_numpy(),
            "group": clips["group"].to_numpy() if "group" in clips else None,
            "label": clips["label"].astype(str).to_numpy(),
            "predicted": pd.Series(predicted, dtype=object).astype(str).to_numpy(),
        }
    )
    return _in_order(rows.assign(**keys._asdict(), **facts), PREDICTION_COLUMNS)


def _in_order(rows: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    unknown = [name for name in rows if name not in columns]
    if unknown:
        raise UserError(f"{unknown} are no columns of the table; it has {list(columns)}")
    return rows[[name for name in columns if name in rows]]
