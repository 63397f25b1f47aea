"""Pseudo-labels of a task's training audio, and of the controls they are compared with.

UnFuSeD (arXiv 2303.05668) clusters the target task's audio with the pre-trained encoder. A gain
over a random encoder may come from self-distillation as such rather than from the teacher; the
controls tell: pseudo-labels from a random encoder, from log-mel statistics, and the teacher's own,
shuffled. The true labels in their place (``true_labels``) bound from above what better
pseudo-labels could bring; only that control ever sees them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..core.errors import UserError
from ..core.repeats import Repeat
from ..core.seeding import numpy_generator
from ..embeddings.embed import embed_clips, log_mel_statistics
from ..encoders.trained import TrainedEncoder
from ..tasks.label_kinds import MULTI_LABEL
from ..tasks.task_data import TaskData
from ..training.precision import pick_device
from .pseudo_labels import PseudoLabels, agreement, pseudo_labels

SOURCES = ("teacher", "random_encoder", "log_mel_statistics", "shuffled", "true_labels")
NOT_CLUSTERED = ("shuffled", "true_labels")


def cluster_task(
    task: TaskData,
    repeat: Repeat,
    encoders: Mapping[str, TrainedEncoder],
    *,
    n_clusters: int | None,
    features: str,
    whiten_dim: int | None,
    iterations: int,
    controls: list[str],
    transductive: bool,
    device: str,
) -> dict[str, pd.DataFrame]:
    """Cluster one repeat's training audio from every source of pseudo-labels.

    Args:
        task: The task; its labels only say how many classes there are, report agreement, and are
            the control ``true_labels``.
        repeat: Seed and fold.
        encoders: ``teacher`` and, if it is a control, ``random_encoder``.
        n_clusters: Number of pseudo-classes; None: the number of classes in the training part.
        features: ``projector`` (official code) or ``encoder``: the teacher's that are clustered.
        whiten_dim: Dimension after PCA whitening.
        iterations: Most k-means iterations.
        controls: Further sources, out of :data:`SOURCES`.
        transductive: Also cluster held-out audio.
        device: Where to embed.

    Returns:
        ``pseudo_labels`` (clip_id, pseudo_label, source, seed, fold), ``quality`` (one row per
        source) and ``features`` (the teacher's, one row per clip).
    """
    data = task.unsupervised(repeat.fold, transductive=transductive)
    n_clusters = n_clusters or len(task.kind.classes(task.part(repeat.fold, "train").labels))
    found: dict[str, PseudoLabels] = {}
    teacher_features = np.empty((0, 0))
    for source in ["teacher", *(name for name in controls if name not in NOT_CLUSTERED)]:
        matrix = _features(source, encoders.get(source), task, data.rows, features, device)
        teacher_features = matrix if source == "teacher" else teacher_features
        found[source] = pseudo_labels(
            torch.from_numpy(matrix),
            n_clusters,
            whiten_dim=whiten_dim,
            iterations=iterations,
            seed=repeat.seed,
        )
    labels = {source: np.asarray(result.labels) for source, result in found.items()}
    if "shuffled" in controls:
        labels["shuffled"] = numpy_generator(repeat.seed, "shuffled").permutation(labels["teacher"])
    truth = task.labels_of(data.clips)
    if "true_labels" in controls:
        labels["true_labels"] = _class_indices(truth, task, transductive=transductive)
    tables = [
        data.clips[["clip_id"]].assign(
            pseudo_label=values, source=source, seed=repeat.seed, fold=repeat.fold
        )
        for source, values in labels.items()
    ]
    quality = [_quality(source, values, truth, repeat) for source, values in labels.items()]
    columns = [f"f{index}" for index in range(teacher_features.shape[1])]
    matrix_table = pd.DataFrame(teacher_features.astype(np.float32), columns=columns)
    return {
        "pseudo_labels": pd.concat(tables, ignore_index=True),
        "quality": pd.DataFrame(quality),
        "features": pd.concat([data.clips[["clip_id"]], matrix_table], axis=1),
    }


def _class_indices(truth: pd.Series, task: TaskData, *, transductive: bool) -> np.ndarray:
    """Return the class of each training clip, (N,) int64."""
    why = (
        "held-out clips are trained on (evaluation.transductive=true)" * transductive
        or "the task has several labels a clip" * (task.kind is MULTI_LABEL)
        or f"{truth.isna().sum()} training clips have no label" * bool(truth.isna().any())
    )
    if why:
        raise UserError(
            f"the control true_labels needs one class for every training clip, but {why}; take it "
            "out of unfused.pseudo_labels.controls"
        )
    return np.unique(truth.astype(str), return_inverse=True)[1]


def _features(
    source: str,
    encoder: TrainedEncoder | None,
    task: TaskData,
    rows: np.ndarray,
    features: str,
    device: str,
) -> np.ndarray:
    if source == "log_mel_statistics":
        return log_mel_statistics(task.store, rows)
    if encoder is None:
        raise UserError(f"pseudo-labels from {source!r} need that encoder; choose from {SOURCES}")
    embedding = embed_clips(encoder, task.store, rows, device=pick_device(device))[
        encoder.encoder.cut
    ]
    if features == "encoder" or source != "teacher":
        return embedding
    if encoder.projector is None:
        raise UserError(
            "unfused.pseudo_labels.features=projector, but this teacher has no projector; "
            "use features=encoder"
        )
    with torch.inference_mode():
        return encoder.projector.eval()(torch.from_numpy(embedding)).numpy()


def _quality(source: str, values: np.ndarray, truth: pd.Series, repeat: Repeat) -> dict[str, Any]:
    known = truth.notna().to_numpy()
    sizes = np.bincount(values)
    scores = agreement(values[known], truth.to_numpy()[known].astype(str))
    return {
        "source": source,
        "seed": repeat.seed,
        "fold": repeat.fold,
        "clips": len(values),
        "n_clusters": len(sizes),
        "sizes": sizes.tolist(),
        "n_labelled": int(known.sum()),
        **scores,
    }
