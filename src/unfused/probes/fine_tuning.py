"""Training on true labels: end-to-end fine-tuning of an encoder, or supervised from scratch.

The LAPE code reports the best test epoch and has no validation part; here the epoch is chosen by
balanced accuracy (several labels: mAP) on whole validation clips, and test clips are met only by
``predict``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..core.errors import UserError
from ..core.seeding import derive_seed
from ..core.workspace import fingerprint
from ..data.store import LogMelStore
from ..embeddings.embed import embed_clips
from ..encoders.encoder import Encoder
from ..encoders.trained import TrainedEncoder
from ..methods.supervised import Supervised
from ..tasks.label_kinds import SINGLE_LABEL, LabelKind
from ..training.batches import CropSource
from ..training.loop import fit
from ..training.precision import pick_device
from ..training.settings import TrainingSettings
from ..views.make_views import ViewMaker
from .best_epoch import BestEpoch
from .fine_tuned import FineTuned, clip_logits
from .linear_probe import LinearProbe

LIGHT_VIEWS: Mapping[str, Any] = {
    "mixup_ratio": 0.0,
    "freq_scale": (1.0, 1.0),
    "time_scale": (1.0, 1.0),
}
"""Normalise and crop only."""
_OFF = (("mixup_alpha", 0.0), ("patience", None))


@dataclass(frozen=True, kw_only=True)
class FineTuningSettings:
    """How to train on labels.

    Attributes:
        training: Length, optimiser and precision.
        views: Arguments of :class:`~unfused.views.make_views.ViewMaker`; the default only
            normalises the crops.
        crop_frames: Frames of a training crop.
        dropout: Dropout on the embedding.
        label_smoothing: Share of the target spread over all classes.
        mixup_alpha: Mix crops and their labels by shares from Beta(alpha, alpha); 0: no mixup.
        head: Start the classifier from a linear probe on the frozen encoder, or at random. An
            encoder whose batch norm has seen no data always starts at random: in training mode
            its features are on another scale than those the probe was fitted on.
        validate_every: Epochs from one validation to the next.
        patience: Validations in a row that may be no better than the best before training stops;
            None: it never stops early.
    """

    training: TrainingSettings
    views: Mapping[str, Any] = field(default_factory=lambda: dict(LIGHT_VIEWS))
    crop_frames: int = 96
    dropout: float = 0.0
    label_smoothing: float = 0.0
    mixup_alpha: float = 0.0
    head: Literal["linear_probe", "random"] = "linear_probe"
    validate_every: int = 1
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.head not in ("linear_probe", "random"):
            raise UserError(f"head={self.head!r} is unknown; choose linear_probe or random")
        if self.validate_every < 1:
            raise UserError(f"validate_every={self.validate_every} must be at least 1 epoch")
        if self.patience is not None and self.patience < 1:
            raise UserError(
                f"patience={self.patience} must be at least 1 validation, or None for no early stop"
            )

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the result.

        What came later than the first trainings and is off leaves no trace, so that they stay
        valid.
        """
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in given.items() if (name, value) not in _OFF}


def fine_tune(
    trained: TrainedEncoder,
    store: LogMelStore,
    train_rows: ArrayLike,
    train_labels: ArrayLike,
    valid_rows: ArrayLike,
    valid_labels: ArrayLike,
    settings: FineTuningSettings,
    *,
    folder: str | Path,
    seed: int,
    device: torch.device | str = "auto",
    kind: LabelKind = SINGLE_LABEL,
    title: str = "",
) -> FineTuned:
    """Train a copy of an encoder and a linear classifier on labelled clips.

    Interrupted and called again with the same arguments, it goes on from ``folder``; finished, it
    only loads the result. Without validation clips the last epoch is taken.

    Args:
        trained: Trained (fine-tuning) or randomly initialised (from scratch, ``head="random"``).
        store: Log-mels.
        train_rows: Training clips, (N,).
        train_labels: Their labels, (N,).
        valid_rows: Validation clips, (M,); may be none.
        valid_labels: Their labels, (M,).
        settings: How.
        folder: Receives checkpoint, metrics, ``validation.json`` and ``best.pt``.
        seed: Seed of everything random.
        device: Where to train.
        kind: Whether a label is one class (cross-entropy) or a set of classes (binary
            cross-entropy of each).
        title: What the log calls the training.

    Raises:
        ValueError: Fewer than 2 classes or clips to train on, or lengths that differ.
        CheckpointError: ``folder`` holds another training.
    """
    train, valid = _Clips.of(train_rows, train_labels), _Clips.of(valid_rows, valid_labels)
    run = _Run(trained, store, train, valid, settings, seed, pick_device(device), kind)
    method = run.method()
    history, best = run.train(method, Path(folder), title)
    best.restore()
    method.cpu().eval().requires_grad_(False)
    facts = {**trained.provenance, "fine_tuning": {"seed": seed, "epoch": best.epoch}}
    return FineTuned(
        trained=run.with_encoder(method, facts),
        classifier=method.classifier,
        classes=run.classes,
        kind=kind,
        epoch=best.epoch,
        score=best.score,
        history=history,
        validation=best.table(),
    )


@dataclass(frozen=True)
class _Clips:
    rows: NDArray[np.int64]
    labels: NDArray[np.str_]

    @classmethod
    def of(cls, rows: ArrayLike, labels: ArrayLike) -> _Clips:
        clips = cls(np.asarray(rows, np.int64), np.asarray(labels, dtype=object).astype(str))
        if len(clips.rows) != len(clips.labels):
            raise UserError(
                f"{len(clips.rows)} clips but {len(clips.labels)} labels; give one label a clip"
            )
        return clips


@dataclass(frozen=True)
class _Run:
    trained: TrainedEncoder
    store: LogMelStore
    train_clips: _Clips
    valid_clips: _Clips
    settings: FineTuningSettings
    seed: int
    device: torch.device
    kind: LabelKind

    @property
    def classes(self) -> NDArray[np.str_]:
        return self.kind.classes(self.train_clips.labels)

    def with_encoder(self, method: Supervised, provenance: dict[str, Any]) -> TrainedEncoder:
        return replace(self.trained, encoder=method.encoder, provenance=provenance, projector=None)

    def method(self) -> Supervised:
        """Return a copy of the encoder with the classifier that training starts from."""
        targets = self.kind.targets(self.train_clips.labels, self.classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, "classifier"))
            return Supervised(
                deepcopy(self.trained.encoder).requires_grad_(True),
                labels=torch.from_numpy(targets),
                n_classes=len(self.classes),
                dropout=self.settings.dropout,
                label_smoothing=self.settings.label_smoothing,
                mixup_alpha=self.settings.mixup_alpha,
                head=self._head(),
                crop_frames=self.settings.crop_frames,
            )

    def _head(self) -> tuple[Tensor, Tensor] | None:
        if self.settings.head == "random" or _never_trained(self.trained.encoder):
            return None
        train, valid = self.train_clips, self.valid_clips
        rows = np.concatenate([train.rows, valid.rows])
        cut = self.trained.encoder.cut
        features = embed_clips(self.trained, self.store, rows, device=self.device)[cut]
        x_train, x_valid = np.split(features, [len(train.rows)])
        probe = LinearProbe(kind=self.kind)
        return probe.fit(x_train, train.labels, x_valid, valid.labels).head()

    def train(self, method: Supervised, folder: Path, title: str) -> tuple[pd.DataFrame, BestEpoch]:
        settings, training = self.settings, self.settings.training
        views = ViewMaker(
            mean=self.trained.mean,
            std=self.trained.std,
            n_mels=self.store.front_end.n_mels,
            crop_frames=settings.crop_frames,
            **{**settings.views, "clip_normalisation": self.trained.clip_normalisation},
        )
        with self._source() as source:
            best = BestEpoch(
                method,
                (lambda: self._score(method)) if len(self.valid_clips.rows) else None,
                folder=folder,
                mark=self._mark(),
                every=settings.validate_every,
                patience=settings.patience,
                n_epochs=math.ceil(training.total_steps(source.n_clips) / source.steps_per_epoch),
            )
            history = fit(
                method, source, views, training,
                folder=folder, seed=self.seed, device=self.device, epoch_end=best, title=title,
            )  # fmt: skip
            return _with_validation(history, best.table(), source.steps_per_epoch), best

    def _source(self) -> CropSource:
        return CropSource(
            self.store,
            self.train_clips.rows,
            crop_frames=self.settings.crop_frames,
            batch_size=self.settings.training.batch_size,
            padding=self.settings.training.padding,
            seed=self.seed,
            device=self.device,
        )

    def _score(self, method: Supervised) -> float:
        """Return the balanced accuracy, or the mAP, on whole validation clips."""
        working, clips = self.with_encoder(method, {}), self.valid_clips
        logits = clip_logits(working, method.classifier, self.store, clips.rows, self.device)
        decided = self.kind.decide(logits, self.classes, self.classes)
        return self.kind.score(clips.labels, decided, self.classes)

    def _mark(self) -> str:
        encoder = self.trained.encoder.state_dict()
        return fingerprint(
            {key: tensor.cpu().numpy() for key, tensor in encoder.items()},
            [self.trained.mean, self.trained.std, self.seed],
            [self.store.clip_ids[self.train_clips.rows], self.train_clips.labels],
            [self.store.clip_ids[self.valid_clips.rows], self.valid_clips.labels],
            self.settings,
        )


def _with_validation(
    history: pd.DataFrame, validation: pd.DataFrame, steps_per_epoch: int
) -> pd.DataFrame:
    """Return the training's metrics with the validation score of each epoch at its last step."""
    if validation.empty:
        return history
    steps = ((validation["epoch"] + 1) * steps_per_epoch).clip(upper=history["step"].max())
    scores = validation.rename(columns={"score": "validation_score"}).assign(step=steps)
    return history.merge(scores, on=["step", "epoch"], how="outer", sort=True)


def _never_trained(encoder: Encoder) -> bool:
    """Return whether batch norm still has the statistics it was made with."""
    seen = [n for key, n in encoder.state_dict().items() if key.endswith("num_batches_tracked")]
    return any(int(n) == 0 for n in seen)
