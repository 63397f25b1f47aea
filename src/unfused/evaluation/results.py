"""The long tables in which every evaluation is reported: result rows and prediction rows."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
from numpy.typing import ArrayLike

from .metrics import METRICS, count

KEY_COLUMNS = ("encoder", "source", "cut", "protocol", "seed", "fold")
FACT_COLUMNS = (
    "n_train",
    "n_valid",
    "n_test",
    "parameters",
    "dimension",
    "regularisation",
    "embedding",
    "transductive",
)
RESULT_COLUMNS = ("task", *KEY_COLUMNS, "metric", "value", *FACT_COLUMNS)
PREDICTION_COLUMNS = ("task", *KEY_COLUMNS, "clip_id", "group", "label", "predicted")


class RowKeys(NamedTuple):
    """What was evaluated, and how.

    Attributes:
        encoder: ``random_init``, a method's name, ``unfused``, ``unfused_full``, ``supervised`` or
            ``log_mel_statistics``.
        source: Where its pseudo-labels came from; empty where there are none.
        cut: Tap of the embedding; empty where there is none.
        protocol: ``linear_probe`` or ``fine_tuning``.
        seed: Seed of the whole study.
        fold: Held-out fold; 0 for a fixed split.
    """

    encoder: str
    source: str
    cut: str
    protocol: str
    seed: int
    fold: int


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
        raise ValueError(f"{unknown} are no columns of the table; it has {list(columns)}")
    return rows[[name for name in columns if name in rows]]
