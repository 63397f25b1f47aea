"""Evaluation of frozen encoders on one task: linear probe (UnFuSeD's step 3) and neighbours."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..core.errors import UserError
from ..core.repeats import Repeat
from ..probes.embedding_cache import ClipEmbeddings
from ..probes.results import RowKeys, scored_rows
from ..tasks.label_kinds import SINGLE_LABEL, LabelKind
from ..tasks.leakage import check_no_leak
from ..tasks.task_data import PARTS, LabelledClips, TaskData
from .candidates import Candidate
from .knn_probe import KNNProbe
from .linear_probe import LinearProbe

log = logging.getLogger(__name__)
FrozenProtocol = Literal["linear_probe", "knn"]
Probe = LinearProbe | KNNProbe


def checked_parts(
    candidate: Candidate, task: TaskData, fold: int, *, transductive: bool
) -> dict[str, LabelledClips]:
    """Return the labelled parts of a fold, once sure that the encoder has seen no held-out clip.

    Raises:
        LeakError: It has, and ``transductive`` is false.
    """
    parts = {name: task.part(fold, name) for name in PARTS}
    if not transductive:
        check_no_leak(
            candidate.trained_on(), pd.concat([parts["valid"].table, parts["test"].table])
        )
    return parts


def evaluate_frozen(
    candidate: Candidate,
    embeddings: ClipEmbeddings,
    task: TaskData,
    repeat: Repeat,
    *,
    protocols: Sequence[FrozenProtocol],
    transductive: bool,
    facts: dict[str, Any],
) -> dict[str, pd.DataFrame]:
    """Fit probes on the training part, choose them on validation, score them on the test part.

    Args:
        candidate: Which encoder.
        embeddings: Its embeddings of the task's clips.
        task: The task.
        repeat: Seed of the encoder, fold of the task.
        protocols: Which probes.
        transductive: Whether encoders may have seen held-out audio, without labels.
        facts: More columns of the result rows.

    Returns:
        ``results`` and ``predictions``, long tables without the column ``task``.

    Raises:
        LeakError: The encoder was trained on held-out clips and ``transductive`` is false.
    """
    parts = checked_parts(candidate, task, repeat.fold, transductive=transductive)
    labels = {name: part.labels for name, part in parts.items()}
    results, predictions = [], []
    for cut in candidate.cuts:
        features = {name: embeddings.matrix(cut, part.rows) for name, part in parts.items()}
        for protocol in protocols:
            probe = fit_probe(
                protocol, features, labels, groups=parts["train"].groups, kind=task.kind
            )
            warn_of_unseen(labels["test"], probe.classes_, task.kind)
            if protocol == "linear_probe" and not probe.scores_:
                log.warning("%s: too few clips to choose the probe's penalty", task.name)
            rows, guesses = scored_rows(
                RowKeys(candidate.label, candidate.source, cut, protocol, *repeat),
                parts["test"].table,
                probe.decision_function(features["test"]),
                probe.classes_,
                task.kind,
                **{f"n_{name}": len(part.rows) for name, part in parts.items()},
                **embeddings.sizes[cut],
                pretraining_clips=candidate.pretraining_clips,
                regularisation=getattr(probe, "strength_", None),
                validation=max(probe.scores_.values(), default=math.nan),
                transductive=transductive,
                **facts,
            )
            results.append(rows)
            predictions.append(guesses)
    return {
        "results": pd.concat(results, ignore_index=True),
        "predictions": pd.concat(predictions, ignore_index=True),
    }


def fit_probe(
    protocol: FrozenProtocol,
    features: Mapping[str, ArrayLike],
    labels: Mapping[str, ArrayLike],
    *,
    groups: ArrayLike | None = None,
    kind: LabelKind = SINGLE_LABEL,
) -> Probe:
    """Return a probe fitted on the training part and chosen on the validation part.

    Args:
        protocol: ``linear_probe`` or ``knn``.
        features: Part (``train``, ``valid``) -> embeddings, (N, D); ``valid`` may be missing or
            empty, then a linear probe chooses by folds inside ``train``.
        labels: Part -> labels, (N,).
        groups: Speaker or recording of each training clip, for the inner folds, (N,).
        kind: Whether a label is one class or a set of classes.

    Raises:
        ValueError: The protocol is unknown, or see :meth:`LinearProbe.fit`.
    """
    given = features["train"], labels["train"], features.get("valid"), labels.get("valid")
    if protocol == "knn":
        return KNNProbe(kind=kind).fit(*given)
    if protocol == "linear_probe":
        return LinearProbe(kind=kind).fit(*given, groups=groups)
    raise UserError(f"protocol={protocol!r} must be one of {list(get_args(FrozenProtocol))}")


def warn_of_unseen(labels: ArrayLike, classes: Iterable[str], kind: LabelKind) -> list[str]:
    """Name the labels that no training clip has; predictions for their clips can only be wrong."""
    unseen = sorted(set(map(str, kind.classes(labels))) - set(map(str, classes)))
    if unseen:
        names = np.asarray(labels, dtype=object).astype(str)
        n = sum(not set(unseen).isdisjoint(kind.classes([name])) for name in names)
        log.warning("no training clip is labelled %s: %d test clips count as errors", unseen, n)
    return unseen
