"""UnFuSeD's unsupervised fine-tuning: self-distil a random encoder on a task's pseudo-labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.seeding import derive_seed
from ..encoders.trained import provenance, save_encoder
from ..tasks.corpus import Corpus
from ..tasks.training_set import TrainingSet
from ..training.checkpoint import drop_checkpoint
from ..training.history import save_history
from ..training.loop import fit
from ..training.pretraining import crop_source, random_encoder, view_maker
from ..training.settings import TrainingSettings
from .self_distillation import SelfDistillation


@dataclass(frozen=True)
class Recipe:
    """How to train, apart from the data.

    Attributes:
        encoder: Registered name of the encoder.
        encoder_settings: Its constructor's arguments.
        training: Length, optimiser and precision.
        method_settings: Hyper-parameters of the method.
        views: Arguments of :class:`~unfused.views.make_views.ViewMaker`.
    """

    encoder: str
    encoder_settings: Mapping[str, Any]
    training: TrainingSettings
    method_settings: Mapping[str, Any] = field(default_factory=dict)
    views: Mapping[str, Any] = field(default_factory=dict)


def self_distil(
    folder: Path,
    data: TrainingSet,
    labels: np.ndarray,
    recipe: Recipe,
    *,
    cut: str,
    seed: int,
    facts: Mapping[str, Any],
    device: str = "auto",
) -> None:
    """Train on pseudo-labels, resuming what ``folder`` holds; keep student and full encoder.

    Args:
        folder: Receives checkpoint, metrics, ``history.parquet``, ``student/`` and ``full/``.
        data: The task's training audio.
        labels: Pseudo-label of each clip, (N,) int.
        recipe: How; ``method_settings`` are those of
            :class:`~unfused.distillation.self_distillation.SelfDistillation`.
        cut: The tap where the student ends.
        seed: Seed of everything random; the encoder starts from other weights than the teacher.
        facts: More facts for the encoders' provenance (task, fold, source of the pseudo-labels).
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    """
    encoder = random_encoder(recipe.encoder, recipe.encoder_settings, derive_seed(seed, "student"))
    torch.manual_seed(derive_seed(seed, "student method"))
    method = SelfDistillation(
        encoder,
        labels=torch.from_numpy(labels.astype(np.int64)),
        n_classes=int(labels.max()) + 1,
        **recipe.method_settings,
    )
    corpus = Corpus.of(data.store, data.clips)
    views = view_maker(corpus, recipe.views, method.crop_frames)
    with crop_source(corpus, method, recipe.training, seed, device) as source:
        history = fit(
            method, source, views, recipe.training,
            folder=folder, seed=seed, device=device, title=_title(facts, seed),
        )  # fmt: skip
    kept = {"student": method.student(cut=cut), "full": method.encoder}
    for name, module in kept.items():
        record = provenance(
            method=f"unfused {name}", seed=seed, parameters=dict(recipe.method_settings), **facts
        )
        trained = data.trained(module, recipe.encoder, record)
        trained.clip_normalisation = views.clip_normalisation
        save_encoder(folder / name, trained, data.clips)
    save_history(folder, history)
    drop_checkpoint(folder)


def _title(facts: Mapping[str, Any], seed: int) -> str:
    """Return what the log calls a self-distillation."""
    known = [f"{name} {facts[name]}" for name in ("task", "source", "fold") if name in facts]
    return ", ".join([*known, f"seed {seed}"])
