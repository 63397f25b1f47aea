"""UnFuSeD as an estimator: what a teacher hears in a corpus teaches a new, smaller encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
import torch

from .. import methods
from ..core.errors import UserError, must_be_one_of
from ..core.outputs import OutputFolder
from ..core.seeding import derive_seed
from ..core.source import source_digest
from ..data.manifest import same_audio
from ..data.store import LogMelStore
from ..embeddings.embedder import Embedder, Joined, as_embedder
from ..embeddings.read_out import ReadOut
from ..encoders.registry import ENCODERS
from ..encoders.trained import TrainedEncoder, load_encoder
from ..tasks.corpus import Corpus
from ..training.checkpoint import drop_checkpoint
from ..training.estimator import (
    LoopEstimator,
    fields_of,
    random_encoder,
    show_further,
    training_parameters,
    view_maker,
)
from ..training.history import load_history
from .embedding_distillation import EmbeddingDistillation
from .pseudo_labels import Whiten, on_spheres, pseudo_labels
from .self_distillation import SelfDistillation
from .settings import DistillationSettings

METHODS = {"clusters": SelfDistillation, "embeddings": EmbeddingDistillation}
"""How a student learns, by its targets."""


class Clusters(NamedTuple):
    """A clustering of a corpus, or several of the same points; tables by clip_id.

    Labels are ``pseudo_label`` and, where there are more, ``pseudo_label_<K>``, int64; points what
    was clustered, whitened vectors of length 1, float32.
    """

    labels: pd.DataFrame
    points: pd.DataFrame


class UnFuSeD(LoopEstimator):
    """Unsupervised fine-tuning by self-distillation (UnFuSeD, arXiv 2303.05668).

    The teacher's vectors of the corpus are clustered, and the clusters are the pseudo-labels that a
    randomly initialised encoder learns; its last layer teaches its blocks, and only the blocks are
    kept. Labels of the corpus are not looked at, apart from their number where ``n_clusters`` does
    not say how many clusters there are.

    Args:
        teacher: A fitted method, a trained encoder, an embedder, or the name of plain statistics.
        n_clusters: Number of clusters K; None: the number of classes, as in the official code;
            several (ours): a clustering and heads for each.
        targets: What the student learns: ``clusters`` as in the paper, or ``embeddings`` (ours),
            the teacher's whitened vectors themselves.
        whiten: Axes that whitening keeps: :func:`~unfused.distillation.pseudo_labels.on_sphere`.
        read_out: How a teacher that is an encoder is read out; None: its mean, maximum, deviation.
        encoder: Registered name of the encoder that is trained.
        encoder_settings: Its constructor's arguments.
        views: Arguments of :class:`~unfused.views.make_views.ViewMaker`.
        seed: Seed of everything random.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        folder: Where checkpoints and results live, so that an interrupted fit goes on and a
            finished one is not repeated; None: nowhere.
        **further: Fields of :class:`~unfused.distillation.settings.DistillationSettings`, such as
            ``alpha``, ``beta`` and ``cut``; and of
            :class:`~unfused.training.settings.TrainingSettings`, by default 10,000 clip-updates.

    Attributes:
        pseudo_labels_: Cluster of each clip, see :class:`Clusters`; None with ``embeddings``.
        student_: The encoder up to ``cut``, what the paper evaluates.
        full_: The whole encoder.
        trained_on_: Clips that teacher and student have heard: corpus, clip_id, digest at least.
        history_: Metrics, one row per ``log_every`` steps.
        folder_: Where the two encoders lie; None without a ``folder``.

    >>> UnFuSeD("mfcc_statistics", n_clusters=10, clip_updates=20_000)
    UnFuSeD(clip_updates=20000, n_clusters=10, teacher='mfcc_statistics')
    """

    further = fields_of(DistillationSettings) | training_parameters(weight_decay=1e-4)
    clip_updates_usual = 10_000
    kept = "student_"
    cut: str
    pseudo_labels_: pd.DataFrame | None
    student_: TrainedEncoder
    full_: TrainedEncoder
    folder_: Path | None

    def __init__(
        self,
        teacher: Any,
        *,
        n_clusters: int | Sequence[int] | None = None,
        targets: Literal["clusters", "embeddings"] = "clusters",
        whiten: Whiten = "auto",
        read_out: ReadOut | None = None,
        encoder: str = "audio_ntt",
        encoder_settings: Mapping[str, Any] | None = None,
        views: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: str = "auto",
        folder: str | Path | OutputFolder | None = None,
        **further: Any,
    ) -> None:
        self.teacher, self.read_out, self.whiten = teacher, read_out, whiten
        self.n_clusters, self.targets = n_clusters, targets
        self.encoder, self.encoder_settings, self.views = encoder, encoder_settings, views
        self.seed, self.device, self.folder = seed, device, folder
        self._take(further)

    show_further(__init__, further)

    def cluster(self, corpus: Corpus) -> Clusters:
        """Return the pseudo-labels of what may be heard of a corpus; see :meth:`fit`."""
        audio = audio_to_learn(corpus)
        if self.n_clusters is None and not _has_labels(corpus):
            raise UserError(
                f"n_clusters=None takes the number of classes, but {corpus.name} has no labels; "
                "say how many clusters there should be"
            )
        k = self.n_clusters or len(corpus.take(audio.clips["clip_id"]).classes)
        return self._heard_by_teacher(audio, [k] if isinstance(k, int) else list(k))

    def fit(
        self,
        corpus: Corpus,
        extra: Corpus | None = None,
        *,
        pseudo_labels: pd.DataFrame | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> Self:
        """Train a student on what may be heard of a corpus: no clip that validates or tests.

        Args:
            corpus: The target task's audio, see :func:`audio_to_learn`.
            extra: More unlabelled audio, for ``targets="embeddings"``.
            pseudo_labels: What to learn in place of the teacher's clusters, as in
                :attr:`Clusters.labels`; for controls.
            facts: More facts for the encoders' provenance.

        Raises:
            UserError: A parameter is out of range, or the teacher's vectors have collapsed.
        """
        by_clusters, targets = self.method is SelfDistillation, pseudo_labels
        if by_clusters and extra is not None:
            raise UserError("extra audio belongs to no class: give it with targets='embeddings'")
        audio = audio_to_learn(corpus, extra)
        if not by_clusters:
            targets = self._heard_by_teacher(audio, []).points
        elif targets is None:
            targets = self.cluster(corpus).labels
        targets = targets.loc[audio.clips["clip_id"]]
        heard = [audio.clips, self.teacher_embedder().trained_on]
        self.trained_on_ = pd.concat(  # where one knows no positions, whole files count
            [table for table in heard if len(table)], join="inner", ignore_index=True
        ).drop_duplicates("clip_id")
        made_of = {
            "settings": self._settings(),
            "audio": audio.mark,
            "targets": targets,
            "facts": facts or {},
            "source": source_digest(__name__, ENCODERS.find(self.encoder).__module__),
        }
        build = partial(self._distil, audio=audio, targets=targets, facts=facts or {})
        with self._outputs() as outputs:
            path = outputs.built(f"{self.method.name}-seed{self.seed}", made_of, build)
            self.student_, self.full_ = load_encoder(path / "student"), load_encoder(path / "full")
            self.history_ = load_history(path)
        self.pseudo_labels_ = targets if by_clusters else None
        self.folder_ = None if self.folder is None else path
        return self

    def teacher_embedder(self) -> Embedder:
        """Return the teacher, read out as its clusters are made of it."""
        return as_embedder(self.teacher, self.read_out or ReadOut())

    def _heard_by_teacher(self, audio: Corpus, ks: Sequence[int]) -> Clusters:
        """Return the teacher's whitened vectors of each clip, and their clusters."""
        teacher = self.teacher_embedder()
        made_of = {
            "audio": audio.mark,
            "teacher": teacher.digest,
            "whiten": self.whiten,
            "n_clusters": ks,
            "seed": self.seed if ks else None,
            "source": source_digest("distillation.pseudo_labels", "embeddings.embedder"),
        }

        def build(_: Path) -> dict[str, pd.DataFrame]:
            parts = teacher.parts if isinstance(teacher, Joined) else [teacher]
            heard = [part.embed(audio, device=self.device) for part in parts]
            points = on_spheres(heard, self.whiten)
            index, labels = pd.Index(audio.clips["clip_id"]), dict[str, Any]()
            for k in ks:
                column = f"pseudo_label_{k}" if labels else "pseudo_label"
                labels[column] = pseudo_labels(points, k, seed=self.seed)
            placed = pd.DataFrame(points, index).add_prefix("f")
            return {"labels": pd.DataFrame(labels, index), "points": placed}

        name = "pseudo_labels" if ks else "embeddings"
        with self._outputs() as outputs:
            return Clusters(**outputs.tables(name, made_of, build))

    @property
    def method(self) -> type[SelfDistillation] | type[EmbeddingDistillation]:
        """How the student learns."""
        must_be_one_of(METHODS, targets=self.targets)
        return METHODS[self.targets]

    def _settings(self) -> dict[str, Any]:
        """Return what decides the student, apart from audio and targets."""
        own = {name: getattr(self, name) for name in methods.settings_of(self.method)}
        return {
            "method": {name: value for name, value in own.items() if value is not None},
            "cut": self.cut,
            "encoder": {"name": self.encoder, **(self.encoder_settings or {})},
            "views": dict(self.views or {}),
            "training": self.training,
            "seed": self.seed,
        }

    def _distil(
        self, folder: Path, audio: Corpus, targets: pd.DataFrame, facts: Mapping[str, Any]
    ) -> None:
        """Train, resuming what ``folder`` holds; keep student and full encoder."""
        settings = self._settings()
        seed = derive_seed(self.seed, "student")  # other weights than the teacher began with
        encoder = random_encoder(self.encoder, self.encoder_settings or {}, seed)
        torch.manual_seed(derive_seed(self.seed, "student method"))
        what: dict[str, Any] = {"targets": torch.tensor(targets.to_numpy(np.float32))}
        learns = "vectors"
        if self.targets == "clusters":
            what = {"labels": np.array(targets, np.int64), "n_classes": [*(targets.max() + 1)]}
            learns = "pseudo-labels"
        method = self.method(encoder, **what, **settings["method"])
        method.student(self.cut)  # refuses, before training, a cut that is no tap
        views = view_maker(audio, settings["views"], method.crop_frames)
        whose = f"{learns}: {facts.get('source', 'teacher')}, fold {facts.get('fold', 0)}"
        self._train(folder, audio, method, views, f"{audio.name}, {whose}, seed {self.seed}")
        known = {**facts, "parameters": {**settings, "training": vars(self.training)}}
        for kind, module in {"student": method.student(self.cut), "full": method.encoder}.items():
            name = f"{method.name} {kind}"
            self._keep(folder / kind, module, audio, views, method=name, **known)
        drop_checkpoint(folder)


def audio_to_learn(corpus: Corpus, extra: Corpus | None = None) -> Corpus:
    """Return the audio of a corpus that may be learnt from, without its labels.

    Of one with labels, the training clips are taken; one without is taken as it is. Extra audio
    counts where it is none of the corpus's own.
    """
    audio = corpus.for_training() if _has_labels(corpus) else corpus
    if extra is None:
        return audio
    more = audio_to_learn(extra).clips
    clips = pd.concat([audio.clips, more[~same_audio(more, corpus.splits)]], ignore_index=True)
    store = LogMelStore.union([audio.store, extra.store])
    return Corpus.of(store, clips.drop_duplicates("clip_id"), name=corpus.name)


def _has_labels(corpus: Corpus) -> bool:
    return "label" in corpus.clips and bool(corpus.clips["label"].notna().any())
