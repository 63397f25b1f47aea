"""Linear evaluation of frozen encoders on one task (papers.md 1.1, step 3)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..arms import Arm
from ..encoders.trained import TrainedEncoder
from .candidates import Candidate
from .embedding import embed_clips, log_mel_statistics
from .linear_probe import LinearProbe
from .results import RowKeys, prediction_rows, result_rows
from .task_data import LabelledClips, TaskData

PARTS = ("train", "valid", "test")


def evaluate_candidate(
    candidate: Candidate,
    task: TaskData,
    arm: Arm,
    *,
    embedding: str,
    transductive: bool,
    device: str,
) -> dict[str, pd.DataFrame]:
    """Fit a linear probe on the training part, choose it on validation, score it on the test part.

    Args:
        candidate: Which encoder.
        task: The task.
        arm: Seed of the encoder, fold of the task.
        embedding: ``whole_clip``, ``window_mean`` or ``random_crop``.
        transductive: Whether encoders saw held-out audio without labels, for the record.
        device: Where to embed.

    Returns:
        ``results`` and ``predictions``, long tables without the column ``task``.
    """
    parts = {name: task.part(arm.fold, name) for name in PARTS}
    rows = np.concatenate([part.rows for part in parts.values()])
    ends = np.cumsum([len(part.rows) for part in parts.values()])[:-1]
    trained, results, predictions = candidate.load(), [], []
    matrices = _embed(trained, candidate.cuts, task, rows, embedding, arm.seed, device)
    for cut, matrix in matrices.items():
        features = dict(zip(PARTS, np.split(matrix, ends), strict=True))
        predicted, strength = _probe(features, parts)
        keys = RowKeys(candidate.label, candidate.source, cut, "linear_probe", *arm)
        size = _size(trained, cut)
        counts = {f"n_{name}": len(part.rows) for name, part in parts.items()}
        facts = {**counts, "parameters": size, "dimension": matrix.shape[1]}
        facts |= {"regularisation": strength, "embedding": embedding, "transductive": transductive}
        results.append(result_rows(keys, parts["test"].labels, predicted, **facts))
        predictions.append(prediction_rows(keys, parts["test"].table, predicted))
    return {"results": pd.concat(results), "predictions": pd.concat(predictions)}


def _probe(
    features: Mapping[str, np.ndarray], parts: Mapping[str, LabelledClips]
) -> tuple[np.ndarray, float]:
    probe = LinearProbe()
    probe.fit(features["train"], parts["train"].labels, features["valid"], parts["valid"].labels)
    return probe.predict(features["test"]), probe.strength_


def _embed(
    trained: TrainedEncoder | None,
    cuts: tuple[str, ...],
    task: TaskData,
    rows: np.ndarray,
    embedding: str,
    seed: int,
    device: str,
) -> dict[str, np.ndarray]:
    if trained is None:
        return {"": log_mel_statistics(task.store, rows)}
    return embed_clips(
        trained,
        task.store,
        rows,
        cuts=cuts,
        protocol=embedding,
        seed=seed,
        device=device,
    )


def _size(trained: TrainedEncoder | None, cut: str) -> int:
    return 0 if trained is None else trained.encoder.truncated(cut).n_parameters
