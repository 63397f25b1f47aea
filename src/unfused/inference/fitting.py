"""From a trained encoder and a task's labels to a classifier: the linear probe of evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..embeddings.embed import embed_clips
from ..embeddings.pieces import Protocol
from ..encoders.trained import TrainedEncoder
from ..probes.frozen_evaluation import fit_probe
from ..probes.head import Head
from ..probes.linear_probe import LinearProbe
from ..tasks.task_data import TaskData


def fit_head(
    trained: TrainedEncoder,
    task: TaskData,
    fold: int,
    /,
    *,
    embedding: Protocol = "whole_clip",
    seed: int = 0,
    device: str = "auto",
    **facts: Any,
) -> Head:
    """Fit a linear probe to a task's labelled training clips, as evaluation does.

    The penalty is chosen on the validation clips. Test clips are not used.

    Args:
        trained: The encoder; the probe takes its cut.
        task: The task.
        fold: Whose training and validation parts.
        embedding: What of a clip is embedded.
        seed: Seed of random crops, where ``embedding`` draws any.
        device: Where to embed.
        **facts: More of the head's provenance.

    Raises:
        ValueError: The clips were made with another front-end, or have fewer than 2 classes.
    """
    parts = {name: task.part(fold, name) for name in ("train", "valid")}
    rows = np.concatenate([part.rows for part in parts.values()])
    cut = trained.encoder.cut
    features = embed_clips(trained, task.store, rows, protocol=embedding, seed=seed, device=device)
    x_train, x_valid = np.split(features[cut], [len(parts["train"].rows)])
    probe = fit_probe(
        "linear_probe",
        {"train": x_train, "valid": x_valid},
        {name: part.labels for name, part in parts.items()},
        groups=parts["train"].groups,
        kind=task.kind,
    )
    assert isinstance(probe, LinearProbe)
    return Head.of_probe(probe, embedding=embedding, **task.facts(fold), **facts)
