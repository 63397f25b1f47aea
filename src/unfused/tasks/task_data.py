"""A task as evaluation sees it: a log-mel store with labels, splits and groups."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..data.overlap import AUDIO_KEY
from ..data.store import LogMelStore
from .label_kinds import MULTI_LABEL, SINGLE_LABEL, LabelKind
from .pretraining_clips import training_clips
from .training_set import TrainingSet

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class LabelledClips:
    """Labelled clips of one part of a split.

    Attributes:
        table: Columns clip_id, digest, offset, frames, label and group, one row per clip.
        rows: Their rows in the store, (N,) int64.
    """

    table: pd.DataFrame
    rows: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """True labels, (N,) str; several have bars between."""
        return self.table["label"].to_numpy().astype(str)

    @property
    def groups(self) -> np.ndarray | None:
        """Speaker or recording of each clip, (N,) str; None where the data does not say."""
        groups = self.table["group"]
        return None if groups.isna().any() else groups.to_numpy().astype(str)


@dataclass(frozen=True)
class TaskData:
    """One task's audio, labels and splits.

    Attributes:
        store: Log-mels.
        manifest: Columns clip_id, corpus, digest, label and group.
        splits: Columns clip_id, digest, fold and split.
    """

    store: LogMelStore
    manifest: pd.DataFrame
    splits: pd.DataFrame

    @property
    def name(self) -> str:
        """Name of the task, which is the folder of its log-mels; else the corpus of its clips."""
        path = self.store.path
        return path.parent.name if path.name == "log_mels" else str(self.manifest["corpus"].iloc[0])

    @property
    def kind(self) -> LabelKind:
        """Whether a label is one class or a set of classes."""
        several = "multi_label" in self.manifest and bool(self.manifest["multi_label"].any())
        return MULTI_LABEL if several else SINGLE_LABEL

    @property
    def labelled_rows(self) -> np.ndarray:
        """Rows of all labelled clips in the store, sorted, (N,) int64."""
        labelled = self.manifest[self.manifest["label"].notna()]
        return np.sort(self.store.rows(labelled["clip_id"].to_numpy()))

    @cached_property
    def folds(self) -> list[int]:
        """The task's folds; [0] where there is one fixed split."""
        return sorted(int(fold) for fold in self.splits["fold"].unique())

    def part(self, fold: int, split: str) -> LabelledClips:
        """Return the labelled clips of one part (``train``, ``valid`` or ``test``)."""
        chosen = self.splits[(self.splits["fold"] == fold) & (self.splits["split"] == split)]
        table = self.manifest[self.manifest["clip_id"].isin(chosen["clip_id"])]
        table = table[[*AUDIO_KEY, "label", "group"]].reset_index(drop=True)
        return LabelledClips(table, self.store.rows(table["clip_id"].to_numpy()))

    def facts(self, fold: int) -> dict[str, Any]:
        """Return what a classifier should know of the clips it was fitted on."""
        train, valid = self.part(fold, "train"), self.part(fold, "valid")
        front_end = self.store.front_end
        seconds = (self.store.n_frames[train.rows] - 1) * front_end.hop / front_end.sample_rate
        return {
            "fold": fold,
            "n_train": len(train.rows),
            "n_valid": len(valid.rows),
            "longest_seconds": round(float(seconds.max()), 3),
            "median_seconds": round(float(np.median(seconds)), 3),
        }

    def unsupervised(self, fold: int, *, transductive: bool) -> TrainingSet:
        """Return the audio that may be clustered and self-distilled on, without its labels."""
        chosen = training_clips(self.splits, fold, transductive=transductive)
        clips = self.manifest[self.manifest["clip_id"].isin(chosen["clip_id"])]
        clips = clips[["corpus", *AUDIO_KEY]].reset_index(drop=True)
        mean, std = self.store.statistics(self.store.rows(clips["clip_id"].to_numpy()))
        return TrainingSet(self.store, clips, mean, std)

    def labels_of(self, clips: pd.DataFrame) -> pd.Series:
        """Return the true labels of clips, None where there is none, in the order of ``clips``."""
        return self.manifest.set_index("clip_id")["label"].reindex(clips["clip_id"])
