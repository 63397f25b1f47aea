"""End-to-end training on a task's true labels: fine-tuned encoders, and one from scratch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.errors import UserError
from ..core.repeats import Repeat
from ..encoders.trained import TrainedEncoder
from ..probes.results import RowKeys, scored_rows
from ..tasks.task_data import LabelledClips, TaskData
from ..training.checkpoint import drop_checkpoint
from ..training.precision import pick_device
from .candidates import Candidate
from .fine_tuned import FineTuned
from .fine_tuning import FineTuningSettings, fine_tune
from .frozen_evaluation import checked_parts, warn_of_unseen
from .head import Head
from .stored_classifier import save_classifier

NETWORK = "network"
"""Where in a training's folder the trained network is kept."""
_SOURCES = ("", "teacher")  # controls are probed, not fine-tuned


@dataclass(frozen=True)
class Plan:
    """One supervised training.

    Attributes:
        label: What it is called in the results.
        source: Where the encoder's pseudo-labels came from.
        settings: How to train.
    """

    label: str
    source: str
    settings: FineTuningSettings


def plans(
    candidate: Candidate,
    encoders: Sequence[str],
    fine_tuning: FineTuningSettings,
    from_scratch: FineTuningSettings,
) -> list[Plan]:
    """Return what is trained from a candidate: fine-tuning if it is chosen, and from scratch.

    Args:
        candidate: An encoder.
        encoders: Labels of the encoders that are fine-tuned.
        fine_tuning: How they are.
        from_scratch: How the randomly initialised encoder is trained with labels only.
    """
    found = []
    if candidate.label in encoders and candidate.source in _SOURCES:
        found.append(Plan(candidate.label, candidate.source, fine_tuning))
    if candidate.label.startswith("random_init"):
        label = candidate.label.replace("random_init", "supervised")
        found.append(Plan(label, "", from_scratch))
    return found


def evaluate_supervised(
    folder: Path,
    candidate: Candidate,
    plan: Plan,
    task: TaskData,
    repeat: Repeat,
    *,
    transductive: bool,
    device: str,
) -> dict[str, pd.DataFrame]:
    """Train on the training part, choose the epoch on validation, score once on the test part.

    Args:
        folder: Keeps unfinished training, and the network in :data:`NETWORK`.
        candidate: The encoder to start from.
        plan: How to train.
        task: The task.
        repeat: Seed of everything random, fold of the task.
        transductive: Whether the encoder may have seen held-out audio, without labels.
        device: Where to train.

    Returns:
        ``results``, ``predictions`` and ``history``, without the column ``task``.

    Raises:
        LeakError: The encoder was trained on held-out clips and ``transductive`` is false.
    """
    parts = checked_parts(candidate, task, repeat.fold, transductive=transductive)
    test = parts["test"]
    trained = candidate.load()
    if trained is None:
        raise UserError(f"{candidate.label!r} has no encoder that could be fine-tuned")
    tuned = _fine_tuned(folder / "training", trained, parts, plan, task, repeat, device)
    made = {"encoder": plan.label, "source": plan.source, "seed": repeat.seed}
    made["cut"] = trained.encoder.cut
    network = Head.of_fine_tuned(tuned, embedding="whole_clip", **task.facts(repeat.fold), **made)
    save_classifier(folder / NETWORK, tuned.trained, network)
    drop_checkpoint(folder / "training")
    warn_of_unseen(test.labels, tuned.classes, task.kind)
    logits = tuned.logits(task.store, test.rows, device=pick_device(device))
    keys = RowKeys(plan.label, plan.source, trained.encoder.cut, "fine_tuning", *repeat)
    facts: dict[str, Any] = {
        **{f"n_{name}": len(part.rows) for name, part in parts.items()},
        "parameters": trained.encoder.n_parameters,
        "dimension": trained.encoder.dim,
        "validation": math.nan if tuned.score is None else tuned.score,
        "pretraining_clips": candidate.pretraining_clips,
        "embedding": "whole_clip",
        "transductive": transductive,
    }
    labels = {"encoder": plan.label, "source": plan.source, **repeat._asdict()}
    results, predictions = scored_rows(keys, test.table, logits, tuned.classes, task.kind, **facts)
    return {
        "results": results,
        "predictions": predictions,
        "history": tuned.history.assign(**labels),
    }


def _fine_tuned(
    folder: Path,
    trained: TrainedEncoder,
    parts: Mapping[str, LabelledClips],
    plan: Plan,
    task: TaskData,
    repeat: Repeat,
    device: str,
) -> FineTuned:
    train, valid = parts["train"], parts["valid"]
    return fine_tune(
        trained,
        task.store,
        train.rows,
        train.labels,
        valid.rows,
        valid.labels,
        plan.settings,
        folder=folder,
        seed=repeat.seed,
        device=device,
        kind=task.kind,
        title=f"{plan.label}, task {task.name}, fold {repeat.fold}, seed {repeat.seed}",
    )
