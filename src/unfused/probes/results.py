"""The long tables in which every evaluation is reported: result rows and prediction rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UserError
from ..data.label_sets import BAR
from ..scores.metrics import calibration_error, metrics_of, score
from ..tasks.corpus import Corpus
from ..tasks.label_kinds import MULTI_LABEL, LabelKind

TRAIN, TRAIN_VALID = "train", "train+valid"
"""What a classifier was fitted on. The second is what is used; the first is what papers report."""
NO_CONTROLS = ("", "teacher")
"""Sources of what could be used; other pseudo-labels are there to compare with."""


class RowKeys(NamedTuple):
    """What was evaluated, and how; a fixed split is fold 0.

    Attributes:
        encoder: ``random_init``, a method's name, ``unfused``, ``unfused_full``, ``supervised``,
            ``mfcc_statistics``, ``log_mel_statistics``, or the name of an embedder from outside.
        source: Where its pseudo-labels came from; empty where there are none.
        read_out: How the encoder is read out; empty where there is none.
        protocol: ``linear_probe``, ``knn`` or ``fine_tuning``.
        fitted_on: :data:`TRAIN` or :data:`TRAIN_VALID`.
    """

    encoder: str
    source: str
    read_out: str
    protocol: str
    fitted_on: str
    seed: int
    fold: int


FACT_COLUMNS = (
    *("n_train", "n_valid", "n_test", "parameters", "dimension", "pretraining_clips"),
    *("setting", "chosen_on", "validation", "validation_error", "transductive"),
    *("licence", "pretraining_data"),
)
"""``setting`` is what was chosen: a penalty, ``lda``, a number of neighbours or an epoch;
``validation`` the score by which (balanced accuracy, with several labels mAP), on clips that are
not test clips, ``validation_error`` its standard error; they are the same for every metric."""
RESULT_COLUMNS = ("task", *RowKeys._fields, "metric", "value", *FACT_COLUMNS)
PREDICTION_COLUMNS = (
    *("task", *RowKeys._fields, "clip_id", "group", "label", "predicted", "probability"),
    *("classes", "scores"),
)
"""``probability`` is that of the most likely class, calibrated; ``classes`` (names with bars
between) and ``scores`` (C,) are those of multi-label tasks."""


def prediction_table(
    logits: NDArray[Any],
    classes: NDArray[np.str_],
    kind: LabelKind,
    *,
    labels: NDArray[np.str_],
    clip_ids: NDArray[Any],
    groups: NDArray[Any] | None = None,
) -> pd.DataFrame:
    """Return what a classifier says of N clips, as :mod:`unfused.scores` takes it.

    Logits, or votes, are (N, C); groups are speakers or recordings, None where they are unknown.
    """
    columns = {"clip_id": clip_ids, "group": groups, "label": np.asarray(labels, object)}
    rows = pd.DataFrame({**columns, "predicted": kind.predicted(logits, classes).astype(object)})
    if kind is MULTI_LABEL:
        rows = rows.assign(classes=BAR.join(classes), scores=list(logits.astype(np.float32)))
    return rows


def score_labels(
    logits: NDArray[Any], classes: NDArray[np.str_], kind: LabelKind, labels: ArrayLike
) -> float:
    """Return the score of logits (N, C) that models are chosen by; labels may name more classes."""
    names, numbers = np.asarray(labels, dtype=object).astype(str), np.arange(len(logits))
    rows = prediction_table(logits, classes, kind, labels=names, clip_ids=numbers)
    return score(rows, kind.chosen_by)


def scored_rows(
    keys: RowKeys,
    test: Corpus,
    logits: NDArray[Any],
    classes: NDArray[np.str_],
    probability: NDArray[np.floating] | None = None,
    **facts: object,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return result and prediction rows of a classifier.

    Logits, or votes, are (N, C); the probability of the most likely class is given where it is
    calibrated, (N,). Facts are values of some of :data:`FACT_COLUMNS`.
    """
    if unknown := sorted(set(facts) - set(FACT_COLUMNS)):
        raise UserError(f"{unknown} are no columns of the table; it has {list(RESULT_COLUMNS)}")
    clip_ids, known = test.clips["clip_id"].to_numpy(), {**keys._asdict(), "task": test.name}
    how: dict[str, Any] = {"labels": test.labels, "clip_ids": clip_ids, "groups": test.groups}
    rows = prediction_table(logits, classes, test.kind, **how).assign(**known)
    values = {name: score(rows, name) for name in metrics_of(rows)}
    if probability is not None:
        rows = rows.assign(probability=np.asarray(probability, np.float32))
        if test.kind is not MULTI_LABEL:
            right = (rows["label"] == rows["predicted"]).to_numpy()
            values["calibration_error"] = calibration_error(probability, right)
    results = pd.DataFrame(values.items(), columns=["metric", "value"]).assign(**known, **facts)
    return results.reindex(columns=RESULT_COLUMNS), rows.reindex(columns=PREDICTION_COLUMNS)
