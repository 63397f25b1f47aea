"""A corpus: clips of audio with their log-mels, some or all of them with labels and parts."""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import NotFoundError, UserError
from ..core.locks import locked
from ..core.outputs import damage, file_facts, mark_of, read_sealed, write_sealed
from ..core.seeding import numpy_generator
from ..core.source import source_digest
from ..data.extraction import MADE_BY, extract_log_mels
from ..data.log_mel import FrontEnd
from ..data.manifest import AUDIO_KEY, check_classes, groups_of, rejected_table, scan_audio
from ..data.sources import corpus_name
from ..data.splits import NO_CLASSES, assign_splits
from ..data.store import LogMelStore
from .label_kinds import MULTI_LABEL, SINGLE_LABEL, LabelKind
from .layouts import read_layout
from .leakage import training_clips

PARTS = ("train", "valid", "test")
RECORD = "corpus.json"
MOST_UNLABELLED = 2000
"""So many clips without a label are embedded for probes, drawn once."""


class Corpus:
    """Clips of audio: where they are, their log-mels, labels where they have any, and parts.

    A part of a corpus (:meth:`part`, :meth:`split`, :attr:`unlabelled`) is a corpus too, and shares
    its log-mels, which are made once and then memory-mapped.

    Args:
        audio: Folders (one sub-folder per class; ``unlabelled`` is none), or CSV, TSV or Parquet
            tables with a column ``path`` and perhaps label, split, fold, group, start, end; or
            recordings with label tracks of Audacity or Raven beside them.
        folder: Where log-mels are kept; None: the user's cache, ``$XDG_CACHE_HOME/unfused``.
        front_end: How log-mels are made; None: as in all LAPE papers.
        labels: Where labels come from, see :func:`unfused.data.manifest.scan_audio`.
        columns: Our name -> the table's column, where it is not recognised.
        label_separator: What stands between several labels of one clip; None: a label is one class.
        layout: How a public data set lies in its folder, see :mod:`unfused.tasks.layouts`.
        valid_fraction: Validation share of what is not test, where the data does not say.
        test_fraction: Test share of the labelled clips, where the data does not say.
        seed: Seed of the parts that are cut here.
        window_seconds: Recordings without a label that are longer than three of these windows are
            cut into them; None: they are not.
        n_jobs: Processes that make log-mels; -1: one per core.

    Attributes:
        name: As its folder, or the folder of its table.
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
    _splits: pd.DataFrame | None
    _whole: Self | None  # what it is a part of, whose splits are its own
    _cut: dict[str, Any]

    def __init__(
        self,
        audio: str | Path | Sequence[str | Path],
        *,
        folder: str | Path | None = None,
        front_end: FrontEnd | None = None,
        labels: str = "auto",
        columns: Mapping[str, str | None] | None = None,
        label_separator: str | None = None,
        layout: str | None = None,
        valid_fraction: float = 0.15,
        test_fraction: float = 0.2,
        seed: int = 0,
        window_seconds: float | None = 10.0,
        n_jobs: int = -1,
    ) -> None:
        sources = [audio] if isinstance(audio, str | Path) else list(audio)
        places = [Path(source).expanduser().resolve() for source in sources]
        name, definition = corpus_name([str(place) for place in places]), front_end or FrontEnd()
        manifest, rejected = scan_audio(
            places, corpus=name, labels=labels, columns=columns, label_separator=label_separator,
            listing=layout and read_layout(layout, places[0]), window_seconds=window_seconds,
        )  # fmt: skip
        mark = mark_of(clips=manifest[AUDIO_KEY], front_end=definition)
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unfused"
        path = Path(folder or cache) / f"{name}-{mark}"
        path.parent.mkdir(parents=True, exist_ok=True)
        may_write = os.access(path.parent, os.W_OK)
        lock = path.with_name(f".{path.name}.lock")
        with locked(lock, f"log-mels of {name}") if may_write else nullcontext():
            undecodable = extract_log_mels(manifest, path, definition, n_jobs=n_jobs)
        store = LogMelStore.open(path, definition)
        clips = manifest[manifest["clip_id"].isin(store.clip_ids)]
        rejected = pd.concat([rejected, undecodable], ignore_index=True)
        self.__dict__.update(Corpus.of(store, clips, name=name, rejected=rejected).__dict__)
        self._cut = {"seed": seed, "valid_fraction": valid_fraction, "test_fraction": test_fraction}

    @classmethod
    def of(
        cls, store: LogMelStore, clips: pd.DataFrame, splits: pd.DataFrame | None = None, *,
        name: str | None = None, rejected: pd.DataFrame | None = None,
    ) -> Self:  # fmt: skip
        """Return a corpus of what is there already: clips of a store, which may hold more.

        ``clips`` have clip_id and perhaps other columns of a manifest, ``splits`` clip_id, fold and
        split; None: cut when asked for. Without a name it is called as that of its first clip.
        """
        corpus = cls.__new__(cls)
        unknown: dict[str, Any] = {
            "corpus": "", "digest": "", "label": None, "group": None, "split": None, "path": "",
            "offset": 0, "fold": pd.array([None] * len(clips), dtype="Int64"),
        }  # fmt: skip
        missing = {column: value for column, value in unknown.items() if column not in clips}
        corpus.clips = clips.reset_index(drop=True).assign(**missing)
        corpus.store, corpus._splits, corpus._whole, corpus._cut = store, splits, None, {}
        if "frames" not in clips:
            n_frames = store.n_frames[corpus.rows] * store.front_end.hop
            corpus.clips = corpus.clips.assign(frames=n_frames)
        corpus.name = name if name is not None else "".join(corpus.clips["corpus"].head(1))
        corpus.rejected = rejected_table([]) if rejected is None else rejected
        return corpus

    def save(self, folder: str | Path) -> None:
        """Write what :meth:`load` reads: tables, and where the log-mels are, which stay there.

        A corpus in the folder is replaced, as a whole or not at all.

        Raises:
            UserError: The log-mels are in memory only.
        """
        if not self.store.paths:
            raise UserError(f"the log-mels of {self.name} are in memory: LogMelStore.write them")
        folder = Path(folder).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD).unlink(missing_ok=True)
        splits = self._splits if self._whole is None else self.splits
        tables, files = {"clips": self.clips, "rejected": self.rejected, "splits": splits}, {}
        for name, table in tables.items():
            if table is not None:
                table.to_parquet(file := folder / f"{name}.parquet", index=False)
                files[file.name] = file_facts(file)
        places = [path.absolute() for path in self.store.paths]
        stores = [[os.path.relpath(place, folder), str(place)] for place in places]
        facts = {"name": self.name, "cut": self._cut, "stores": stores, "files": files}
        write_sealed(folder / RECORD, facts)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a corpus; its log-mels are looked for as seen from the folder, then where they were.

        Raises:
            NotFoundError: There is no corpus in the folder, or it is unfinished.
            UserError: It is damaged.
            StoreError: Its log-mels are missing or damaged.
        """
        folder = Path(folder)
        if not (folder / RECORD).is_file():
            raise NotFoundError(f"there is no corpus in {folder}: save one there")
        for name, what in damage(folder / RECORD).items():
            raise UserError(f"{folder / name} {what}: make the corpus again")
        facts = read_sealed(folder / RECORD) or {}
        tables = {Path(name).stem: pd.read_parquet(folder / name) for name in facts["files"]}
        stores = [
            LogMelStore.open(place if (place := (folder / near).resolve()).is_dir() else there)
            for near, there in facts["stores"]
        ]
        known = {"name": facts["name"], "rejected": tables["rejected"]}
        store = stores[0] if len(stores) == 1 else LogMelStore.union(stores)
        corpus = cls.of(store, tables["clips"], tables.get("splits"), **known)
        corpus._cut = facts["cut"]
        return corpus

    def __len__(self) -> int:
        return len(self.clips)

    def __repr__(self) -> str:
        labelled, hours = self.clips["label"].notna().sum(), self.seconds.sum() / 3600
        return f"Corpus({self.name!r}, clips={len(self)}, labelled={labelled}, hours={hours:.2f})"

    @property
    def mark(self) -> str:
        """A hash of which audio this is and how its log-mels were made."""
        made = self.store.front_end, source_digest(*MADE_BY)
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
        return [str(name) for name in self.kind.classes(self.clips["label"].dropna())]

    @property
    def groups(self) -> NDArray[np.str_] | None:
        """Speaker or recording of each clip, (N,); None where the data does not say."""
        return groups_of(self.clips)

    @property
    def splits(self) -> pd.DataFrame:
        """Which clips train, validate and test in every fold: clip_id, fold, split, made_by."""
        if self._splits is None and self._whole is not None:
            whole = self._whole.splits
            self._splits = whole[whole["clip_id"].isin(self.clips["clip_id"])]
        elif self._splits is None:
            cut = assign_splits(self.clips, **self._cut)
            self._splits = cut.merge(self.clips[AUDIO_KEY], on="clip_id")
        return self._splits

    @property
    def folds(self) -> list[int]:
        """The folds; [0] where there is one fixed split."""
        return sorted(int(fold) for fold in self.splits["fold"].unique()) or [0]

    @property
    def labelled(self) -> Self:
        """The clips with a label."""
        return self._subset(self.clips["label"].notna())

    @property
    def for_probes(self) -> Self:
        """The clips with a label, and at most :data:`MOST_UNLABELLED` of those without one.

        Where clips have several labels none of the latter: no probe learns from them.
        """
        without = self.clips["label"].isna().to_numpy()
        chosen = numpy_generator(0, "clips without a label").permutation(np.flatnonzero(without))
        kept = ~without
        kept[chosen[: 0 if self.kind is MULTI_LABEL else MOST_UNLABELLED]] = True
        return self._subset(pd.Series(kept, index=self.clips.index))

    @property
    def unlabelled(self) -> Self:
        """:meth:`for_training` in the first fold: what may be heard, without its labels."""
        return self.for_training()

    def part(self, name: str, fold: int | None = None) -> Self:
        """Return the labelled clips of one part: ``train``, ``valid`` or ``test``."""
        return self._of_split([name], fold)

    def split(self, fold: int | None = None) -> tuple[Self, Self]:
        """Return the labelled clips to fit on (training and validation parts) and those to test on.

        Without a fold the first is held out.

        Raises:
            ManifestError: There are fewer than two classes.
        """
        return self._of_split(["train", "valid"], fold), self._of_split(["test"], fold)

    def for_training(self, fold: int | None = None, *, transductive: bool = False) -> Self:
        """Return the audio that may be trained on without labels, which are taken away.

        No clip that validates or tests in the fold (None: the first), nor its audio under another
        name, is among it; ``transductive`` takes their audio, never their labels, too.
        """
        chosen = training_clips(self.splits, self._fold(fold), transductive=transductive)
        audio = self._subset(self.clips["clip_id"].isin(chosen["clip_id"]))
        audio.clips = audio.clips.assign(label=None)
        return audio

    def take(self, clip_ids: Iterable[str]) -> Self:
        """Return the clips with these ids, in their order here."""
        return self._subset(self.clips["clip_id"].isin(list(clip_ids)))

    def facts(self) -> dict[str, Any]:
        """Return what a classifier should know of the clips it was fitted on."""
        return {
            "longest_seconds": round(float(self.seconds.max()), 3),
            "median_seconds": round(float(np.median(self.seconds)), 3),
        }

    def _fold(self, fold: int | None) -> int:
        if fold is not None and fold not in self.folds:
            raise UserError(f"fold={fold} is none of the folds {self.folds} of {self.name}")
        return self.folds[0] if fold is None else fold

    def _of_split(self, parts: Sequence[str], fold: int | None) -> Self:
        splits, labelled = self.splits, self.clips["label"].notna()
        undivided = "made_by" in splits and (splits["made_by"] == NO_CLASSES).any()
        if len(self) and (undivided or not labelled.any()):
            check_classes(self.clips)
        of_part = splits[(splits["fold"] == self._fold(fold)) & splits["split"].isin(parts)]
        part = self._subset(labelled & self.clips["clip_id"].isin(of_part["clip_id"]))
        part._splits = of_part[of_part["clip_id"].isin(part.clips["clip_id"])]
        return part

    def _subset(self, chosen: pd.Series) -> Self:
        part = self.of(self.store, self.clips[chosen], name=self.name, rejected=self.rejected)
        part._whole, part._cut = self, self._cut
        return part
