"""Linear evaluation of a frozen encoder on one task (UnFuSeD's step 3, arXiv 2303.05668)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..arms import Arm
from ..encoders.trained import TrainedEncoder
from ..training.precision import pick_device
from .candidates import Candidate
from .clip_pieces import Protocol
from .embedding import embed_clips, log_mel_statistics
from .leakage import check_no_leak
from .probing import evaluate_linear
from .results import RowKeys, prediction_rows, result_rows
from .task_data import PARTS, TaskData


@dataclass(frozen=True)
class ProbeSettings:
    """How frozen encoders are evaluated.

    Attributes:
        embedding: ``whole_clip``, ``window_mean`` or ``random_crop``.
        transductive: Whether encoders may have seen held-out audio, without labels.
        device: Where to embed.
    """

    embedding: Protocol = "whole_clip"
    transductive: bool = False
    device: str = "auto"

    def identity(self) -> dict[str, Any]:
        """Return what decides the scores."""
        return {"embedding": self.embedding, "transductive": self.transductive}


def evaluate_candidate(
    candidate: Candidate, task: TaskData, arm: Arm, settings: ProbeSettings
) -> dict[str, pd.DataFrame]:
    """Fit a linear probe on the training part, choose it on validation, score it on the test part.

    Args:
        candidate: Which encoder.
        task: The task.
        arm: Seed of the encoder, fold of the task.
        settings: How.

    Returns:
        ``results`` and ``predictions``, long tables without the column ``task``.

    Raises:
        LeakError: The encoder was trained on held-out clips and ``transductive`` is false.
    """
    parts = {name: task.part(arm.fold, name) for name in PARTS}
    if not settings.transductive:
        held_out = pd.concat([parts["valid"].table, parts["test"].table])
        check_no_leak(candidate.trained_on(), held_out)
    labels = {name: part.labels for name, part in parts.items()}
    ends = np.cumsum([len(part.rows) for part in parts.values()])[:-1]
    rows = np.concatenate([part.rows for part in parts.values()])
    trained, results, predictions = candidate.load(), [], []
    matrices = _embed(trained, candidate.cuts, task, rows, arm.seed, settings)
    for cut, matrix in matrices.items():
        features = dict(zip(PARTS, np.split(matrix, ends), strict=True))
        found = evaluate_linear(features, labels, groups=parts["train"].groups)
        keys = RowKeys(candidate.label, candidate.source, cut, "linear_probe", *arm)
        results.append(
            result_rows(
                keys,
                labels["test"],
                found.predicted,
                **{f"n_{name}": len(part.rows) for name, part in parts.items()},
                parameters=_size(trained, cut),
                dimension=matrix.shape[1],
                regularisation=found.probe.strength_,
                embedding=settings.embedding,
                transductive=settings.transductive,
            )
        )
        predictions.append(prediction_rows(keys, parts["test"].table, found.predicted))
    return {"results": pd.concat(results), "predictions": pd.concat(predictions)}


def _embed(
    trained: TrainedEncoder | None,
    cuts: tuple[str, ...],
    task: TaskData,
    rows: np.ndarray,
    seed: int,
    settings: ProbeSettings,
) -> dict[str, np.ndarray]:
    if trained is None:
        return {"": log_mel_statistics(task.store, rows)}
    return embed_clips(
        trained,
        task.store,
        rows,
        cuts=cuts,
        protocol=settings.embedding,
        seed=seed,
        device=pick_device(settings.device),
    )


def _size(trained: TrainedEncoder | None, cut: str) -> int:
    return 0 if trained is None else trained.encoder.truncated(cut).n_parameters
