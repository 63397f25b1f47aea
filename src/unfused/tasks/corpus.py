"""A corpus: clips of audio with their log-mels, some or all of them with labels and parts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import NotFoundError, UserError
from ..core.outputs import OutputFolder, mark_of, write_json
from ..core.source import source_digest
from ..data.extraction import extract_log_mels
from ..data.log_mel import FrontEnd
from ..data.manifest import rejected_table, scan_audio
from ..data.overlap import AUDIO_KEY
from ..data.sources import Labels, corpus_name
from ..data.splits import assign_splits
from ..data.store import LogMelStore
from .label_kinds import MULTI_LABEL, SINGLE_LABEL, LabelKind
from .pretraining_clips import training_clips

PARTS = ("train", "valid", "test")
_CORPUS = "corpus.json"
_MADE_BY = ("data.extraction", "data.log_mel", "data.reading")


def cache_folder() -> Path:
    """Return where log-mels are kept if no folder is named: ``$XDG_CACHE_HOME/unfused``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unfused"


class Corpus:
    """Clips of audio: where they are, their log-mels, labels where they have any, and parts.

    A part of a corpus (:meth:`part`, :meth:`split`, :attr:`unlabelled`) is a corpus too, and shares
    its log-mels. Log-mels are made once and then memory-mapped.

    Args:
        audio: Folders (one sub-folder per class; ``unlabelled`` is none), or CSV, TSV or Parquet
            tables with a column ``path`` and perhaps label, split, fold, group, offset, frames.
        folder: Where log-mels are kept; None: the user's cache.
        front_end: How log-mels are made; None: as in all LAPE papers.
        labels: Where labels come from, see :func:`unfused.data.manifest.scan_audio`.
        columns: Our name -> the table's column, where they differ.
        label_separator: What stands between several labels of one clip; None: a label is one class.
        valid_fraction: Validation share of what is not test, where the data does not say.
        test_fraction: Test share of the labelled clips, where the data does not say.
        seed: Seed of the parts that are cut here.
        n_jobs: Processes that make log-mels; -1: one per core.

    Attributes:
        name: What it is called.
        store: The log-mels.
        clips: One row per clip: clip_id, corpus, path, offset, frames, label, group, digest ...
        rejected: Clips that cannot be used, each with the reason.

    Raises:
        ManifestError: Nothing usable was found, or a table is malformed.

    >>> corpus = Corpus("my_sounds")  # doctest: +SKIP
    >>> train, test = corpus.split()  # doctest: +SKIP
    """

    name: str
    store: LogMelStore
    clips: pd.DataFrame
    rejected: pd.DataFrame

    def __init__(
        self,
        audio: str | Path | Sequence[str | Path],
        *,
        folder: str | Path | None = None,
        front_end: FrontEnd | None = None,
        labels: Labels = "auto",
        columns: Mapping[str, str] | None = None,
        label_separator: str | None = None,
        valid_fraction: float = 0.15,
        test_fraction: float = 0.2,
        seed: int = 0,
        n_jobs: int = -1,
    ) -> None:
        sources = [audio] if isinstance(audio, str | Path) else list(audio)
        places = [Path(source).expanduser().resolve() for source in sources]
        name = corpus_name([str(place) for place in places])
        scanned, unreadable = scan_audio(
            places, corpus=name, labels=labels, columns=columns, label_separator=label_separator
        )
        definition = front_end or FrontEnd()
        outputs = OutputFolder(Path(folder) if folder else cache_folder())
        made_of = {
            "clips": scanned[AUDIO_KEY],
            "front_end": definition,
            "source": source_digest(*_MADE_BY),
        }

        def extract(path: Path) -> None:
            undecodable = extract_log_mels(scanned, path, definition, n_jobs=n_jobs)
            undecodable.to_parquet(path / "undecodable.parquet")

        path = outputs.built(name, made_of, extract)
        undecodable = pd.read_parquet(path / "undecodable.parquet")
        store = LogMelStore.open(path, definition)
        self.name, self.store = name, store
        self.clips = scanned[scanned["clip_id"].isin(store.clip_ids)].reset_index(drop=True)
        self.rejected = pd.concat([unreadable, undecodable], ignore_index=True)
        self._splits: pd.DataFrame | None = None
        self._cut: dict[str, Any] = {
            "seed": seed, "valid_fraction": valid_fraction, "test_fraction": test_fraction
        }  # fmt: skip

    @classmethod
    def of(
        cls,
        store: LogMelStore,
        clips: pd.DataFrame,
        splits: pd.DataFrame | None = None,
        *,
        name: str | None = None,
        rejected: pd.DataFrame | None = None,
    ) -> Corpus:
        """Return a corpus of what is there already.

        Args:
            store: Log-mels; may hold more clips.
            clips: Which clips, columns clip_id, corpus and digest at least.
            splits: Their parts, columns clip_id, fold and split; None: cut when asked for.
            name: What it is called; None: as the corpus of its first clip.
            rejected: Clips that cannot be used.
        """
        corpus = cls.__new__(cls)
        corpus.store, corpus._splits, corpus._cut = store, splits, {}
        corpus.clips = clips.reset_index(drop=True)
        corpus.name = name or (str(clips["corpus"].iloc[0]) if len(clips) else "")
        corpus.rejected = rejected_table([]) if rejected is None else rejected
        return corpus

    def __len__(self) -> int:
        return len(self.clips)

    def __repr__(self) -> str:
        labelled = int(self.clips["label"].notna().sum()) if "label" in self.clips else 0
        hours = self.seconds.sum() / 3600
        return f"Corpus({self.name!r}, clips={len(self)}, labelled={labelled}, hours={hours:.2f})"

    def save(self, folder: str | Path) -> None:
        """Write clips, parts and where the log-mels are, which stay there.

        Raises:
            OSError: The folder cannot be written.
        """
        path = Path(folder).resolve()
        path.mkdir(parents=True, exist_ok=True)
        stores = [os.path.relpath(place.resolve(), path) for place in self.store.paths]
        self.clips.to_parquet(path / "clips.parquet")
        self.splits.to_parquet(path / "splits.parquet")
        self.rejected.to_parquet(path / "rejected.parquet")
        write_json(path / _CORPUS, {"name": self.name, "stores": stores})

    @classmethod
    def load(cls, folder: str | Path) -> Corpus:
        """Read what :meth:`save` wrote.

        Raises:
            NotFoundError: There is no corpus.
        """
        path = Path(folder).resolve()
        if not (path / _CORPUS).is_file():
            raise NotFoundError(f"{path} holds no corpus: {_CORPUS} is missing")
        facts = json.loads((path / _CORPUS).read_text(encoding="utf-8"))
        store = LogMelStore.union([LogMelStore.open(path / place) for place in facts["stores"]])
        names = ("clips", "splits", "rejected")
        clips, splits, rejected = (pd.read_parquet(path / f"{name}.parquet") for name in names)
        return cls.of(store, clips, splits, name=facts["name"], rejected=rejected)

    @property
    def mark(self) -> str:
        """A hash of which audio this is and how its log-mels were made."""
        made = self.store.front_end, source_digest(*_MADE_BY)
        return mark_of(clips=self.clips["clip_id"], log_mels=made)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the clips in the store, (N,)."""
        return self.store.rows(self.clips["clip_id"].to_numpy())

    @cached_property
    def seconds(self) -> NDArray[np.float64]:
        """Length of each clip, (N,)."""
        front_end = self.store.front_end
        return (self.store.n_frames[self.rows] - 1) * front_end.hop / front_end.sample_rate

    @cached_property
    def statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of the log-mel values."""
        return self.store.statistics(self.rows)

    @property
    def kind(self) -> LabelKind:
        """Whether a label is one class or a set of classes."""
        several = "multi_label" in self.clips and bool(self.clips["multi_label"].any())
        return MULTI_LABEL if several else SINGLE_LABEL

    @property
    def labels(self) -> NDArray[np.str_]:
        """Labels, (N,); several have bars between.

        Raises:
            UserError: A clip has none.
        """
        labels = self.clips["label"]
        if labels.isna().any():
            raise UserError(
                f"{int(labels.isna().sum())} of {len(self)} clips of {self.name} have no label; "
                "take .labelled, .part() or .split()"
            )
        return labels.to_numpy().astype(str)

    @property
    def classes(self) -> list[str]:
        """Names of the classes, sorted."""
        return [str(name) for name in self.kind.classes(self.labelled.labels)]

    @property
    def groups(self) -> NDArray[np.str_] | None:
        """Speaker or recording of each clip, (N,); None where the data does not say."""
        if "group" not in self.clips or self.clips["group"].isna().any():
            return None
        return self.clips["group"].to_numpy().astype(str)

    @property
    def splits(self) -> pd.DataFrame:
        """Which clips train, validate and test in every fold: clip_id, fold, split, made_by."""
        if self._splits is None:
            self._splits = assign_splits(self.clips, **self._cut).merge(
                self.clips[AUDIO_KEY], on="clip_id"
            )
        return self._splits

    @property
    def folds(self) -> list[int]:
        """The folds; [0] where there is one fixed split."""
        return sorted(int(fold) for fold in self.splits["fold"].unique())

    @property
    def labelled(self) -> Corpus:
        """The clips with a label."""
        return self._subset(self.clips["label"].notna().to_numpy())

    @property
    def unlabelled(self) -> Corpus:
        """What may be heard without labels: no clip that validates or tests; labels taken away."""
        return self.for_training(self.folds[0])

    def part(self, name: str, fold: int | None = None) -> Corpus:
        """Return the labelled clips of one part: ``train``, ``valid`` or ``test``."""
        return self._of_split([name], fold)

    def split(self, fold: int | None = None) -> tuple[Corpus, Corpus]:
        """Return the labelled clips to fit on (training and validation parts) and those to test on.

        Args:
            fold: Which fold is held out; None: the first.
        """
        return self._of_split(["train", "valid"], fold), self._of_split(["test"], fold)

    def for_training(self, fold: int | None = None, *, transductive: bool = False) -> Corpus:
        """Return the audio that may be trained on without labels; its labels are taken away.

        Args:
            fold: Which fold is held out; None: the first.
            transductive: Also take the audio (never the labels) of validation and test clips.
        """
        if "label" not in self.clips or (self._splits is None and self.clips["label"].isna().all()):
            return self
        chosen = training_clips(self.splits, self._fold(fold), transductive=transductive)
        audio = self._subset(self.clips["clip_id"].isin(chosen["clip_id"]).to_numpy())
        audio.clips = audio.clips.assign(label=None)
        return audio

    def take(self, clip_ids: Iterable[str]) -> Corpus:
        """Return the clips with these ids, in their order here."""
        return self._subset(self.clips["clip_id"].isin(list(clip_ids)).to_numpy())

    def facts(self) -> dict[str, Any]:
        """Return what a classifier should know of the clips it was fitted on."""
        return {
            "longest_seconds": round(float(self.seconds.max()), 3),
            "median_seconds": round(float(np.median(self.seconds)), 3),
        }

    def _fold(self, fold: int | None) -> int:
        return self.folds[0] if fold is None else fold

    def _of_split(self, parts: Sequence[str], fold: int | None) -> Corpus:
        number = self._fold(fold)
        of_fold = self.splits[self.splits["fold"] == number]
        chosen = of_fold[of_fold["split"].isin(parts)]
        labelled = self.clips["label"].notna() & self.clips["clip_id"].isin(chosen["clip_id"])
        return self._subset(labelled.to_numpy(), of_fold)

    def _subset(self, chosen: NDArray[np.bool_], splits: pd.DataFrame | None = None) -> Corpus:
        splits = self._splits if splits is None else splits
        subset = Corpus.of(
            self.store, self.clips[chosen], splits, name=self.name, rejected=self.rejected
        )
        subset._cut = self._cut
        return subset
