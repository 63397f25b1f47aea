"""Evaluation on one task: frozen encoders (UnFuSeD's step 3) and networks trained on its labels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UserError
from ..core.outputs import digest_of
from ..core.seeding import numpy_generator
from ..data.manifest import groups_of
from ..embeddings.embedder import Embedder, EncoderEmbedder
from ..encoders.trained import WEIGHTS_FILE, load_encoder
from ..tasks.corpus import MOST_UNLABELLED, PARTS, Corpus
from ..tasks.label_kinds import MULTI_LABEL, LabelKind
from ..tasks.leakage import check_no_leak
from .candidates import RANDOM_INIT, UNTRAINED, Candidate, Vectors
from .fine_tuning import FineTuned, fine_tune
from .head import save_head
from .probe import NOTHING, KNNProbe, Probe
from .results import NO_CONTROLS, TRAIN, TRAIN_VALID, RowKeys, scored_rows
from .self_training import Unlabelled
from .settings import FineTuningSettings

log = logging.getLogger(__name__)
FrozenProtocol = Literal["linear_probe", "knn"]
NETWORK = "network"
"""Where in a training's folder the trained network is kept: its embedder and its head."""
_PROBES: dict[FrozenProtocol, type[Probe]] = {"linear_probe": Probe, "knn": KNNProbe}


def checked_parts(
    embedder: Embedder, corpus: Corpus, fold: int, *, transductive: bool
) -> dict[str, Corpus]:
    """Return a fold's labelled parts; LeakError if the encoder has seen a held-out clip.

    It may have in a ``transductive`` evaluation.
    """
    parts = {name: corpus.part(name, fold) for name in PARTS}
    if not transductive:
        held_out = pd.concat([parts["valid"].clips, parts["test"].clips])
        check_no_leak(embedder.trained_on, held_out)
    return parts


def evaluate_frozen(
    candidate: Candidate,
    vectors: Vectors,
    corpus: Corpus,
    *,
    protocols: Sequence[FrozenProtocol] = ("linear_probe",),
    transductive: bool = False,
) -> dict[str, pd.DataFrame]:
    """Choose probes on held-out clips, fit them, and score them once on the test part.

    Returned are ``results`` and ``predictions``, see :mod:`.results`, with rows of the probe fitted
    on training clips only, and rows of that fitted on validation clips too. If ``transductive``,
    the encoder may have seen held-out audio, without labels.

    Raises:
        LeakError: The encoder was trained on held-out clips and ``transductive`` is false.
    """
    parts = checked_parts(candidate.load(), corpus, candidate.fold, transductive=transductive)
    test, kind, tables = parts["test"], corpus.kind, []
    heard = Heard.of(vectors, corpus, candidate.fold)
    for protocol in protocols:
        probe = fit_probe(protocol, vectors, parts["train"], parts["valid"], heard)
        warn_of_unseen(test.labels, probe.classes_, kind)
        if probe.chosen_on_ == NOTHING:
            log.warning("%s: too few clips to choose the probe's setting", corpus.name)
        facts = {
            **_facts(candidate, parts, transductive),
            "parameters": vectors.n_parameters, "dimension": vectors.matrix.shape[1],
            "setting": str(probe.setting_), "chosen_on": probe.chosen_on_,
            "validation": probe.validation_, "validation_error": probe.validation_error_,
        }  # fmt: skip
        for fitted_on, fitted in ((TRAIN, probe.train_), (TRAIN_VALID, probe.all_)):
            likely = logits = fitted.logits(vectors.of(test))
            if protocol == "linear_probe":
                several = kind is MULTI_LABEL
                likely = probe.calibration_.probabilities(logits, several=several)
            keys = candidate.keys(protocol, fitted_on)
            tables.append(scored_rows(keys, test, logits, probe.classes_, likely.max(1), **facts))
    joined = [pd.concat(rows, ignore_index=True) for rows in zip(*tables, strict=True)]
    return dict(zip(("results", "predictions"), joined, strict=True))


def _facts(candidate: Candidate, parts: dict[str, Corpus], transductive: bool) -> dict[str, Any]:
    """Return what result rows say whatever the protocol is."""
    sizes = {f"n_{name}": len(part) for name, part in parts.items()}
    seen = {"pretraining_clips": candidate.pretraining_clips, "transductive": transductive}
    return {**sizes, **seen, **candidate.facts}


class Heard(NamedTuple):
    """What a probe may hear of a task without labels: ids of the clips and their vectors."""

    clip_ids: NDArray[np.str_]
    clips: Unlabelled

    @classmethod
    def of(cls, vectors: Vectors, corpus: Corpus, fold: int) -> Heard | None:
        """Return the clips without a label and training clips, at most :data:`MOST_UNLABELLED`.

        Training clips are taken where the others are fewer than that. None for plain statistics,
        which lose by it (docs/results.md#clips-without-a-label).
        """
        if not vectors.n_parameters or corpus.kind is MULTI_LABEL:
            return None
        ids = np.intersect1d(corpus.for_training(fold).clips["clip_id"], vectors.clip_ids)
        ids = numpy_generator(0, "heard").permutation(ids)
        labelled = np.isin(ids, corpus.labelled.clips["clip_id"])
        heard = corpus.take(ids[np.argsort(labelled, kind="stable")][:MOST_UNLABELLED])
        return cls(heard.clips["clip_id"].to_numpy(), Unlabelled(vectors.of(heard)))

    def but(self, corpora: Sequence[Corpus]) -> Unlabelled:
        """Return the clips but those of some corpora, whose labels are known."""
        known = np.concatenate([corpus.clips["clip_id"] for corpus in corpora])
        return self.clips.but(np.isin(self.clip_ids, known))


def fit_probe(
    protocol: FrozenProtocol,
    vectors: Vectors,
    train: Corpus,
    valid: Corpus | None = None,
    heard: Heard | None = None,
) -> Probe:
    """Return a probe chosen and fitted on labelled clips, whose vectors are among the given ones.

    Without validation clips folds of the training clips choose. Raises as :meth:`Probe.fit` does.
    """
    parts = [train] if valid is None or not len(valid) else [train, valid]
    return _PROBES[protocol](kind=train.kind).fit(
        np.concatenate([vectors.of(part) for part in parts]),
        np.concatenate([part.labels for part in parts]),
        valid=np.arange(sum(map(len, parts))) >= len(train),
        groups=groups_of(pd.concat([part.clips for part in parts])),
        unlabelled=heard and heard.but(parts),
    )


@dataclass(frozen=True)
class Plan:
    """One supervised training: how, and from which encoder on, by whose name results go."""

    settings: FineTuningSettings
    candidate: Candidate

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.candidate.label}-{self.candidate.repeat.name}"

    def encoder(self) -> EncoderEmbedder:
        """Return where training starts; an error if the candidate is no encoder."""
        found = self.candidate.load()
        if not isinstance(found, EncoderEmbedder):
            raise UserError(f"{self.candidate.label!r} has no encoder that could be fine-tuned")
        return found

    def keys(self, tuned: FineTuned) -> RowKeys:
        """Return what its rows are called."""
        read_out = tuned.embedder.read_out.name
        return self.candidate.keys("fine_tuning")._replace(read_out=read_out)

    def identity(self) -> dict[str, Any]:
        """Return what decides the result: not how the encoder is read out."""
        start = self.candidate
        begins_with: Any = None
        if start.embedder["kind"] == UNTRAINED:
            like = load_encoder(str(start.folder))
            begins_with = [like.mean, like.std]
        elif start.folder is not None:
            begins_with = digest_of(Path(start.folder) / WEIGHTS_FILE)
        return {
            "label": start.label, "settings": self.settings, "repeat": start.repeat,
            "embedder": {k: value for k, value in start.embedder.items() if k != "read_out"},
            "begins_with": begins_with,
        }  # fmt: skip


def plans(
    candidates: Sequence[Candidate],
    encoders: Sequence[str],
    fine_tuning: FineTuningSettings,
    from_scratch: FineTuningSettings,
) -> list[Plan]:
    """Return what is trained: encoders of some labels and, from scratch, random ones.

    Each is trained once, however often it is read out; controls are not.
    """
    found: dict[Any, Plan] = {}
    for candidate in candidates:
        if candidate.label in encoders and candidate.source in NO_CONTROLS:
            found.setdefault((candidate.name, candidate.repeat), Plan(fine_tuning, candidate))
        if candidate.label.startswith(RANDOM_INIT):
            scratch = replace(candidate, label=candidate.label.replace(RANDOM_INIT, "supervised"))
            found.setdefault((scratch.name, scratch.repeat), Plan(from_scratch, scratch))
    return list(found.values())


def evaluate_fine_tuned(
    plan: Plan, corpus: Corpus, folder: Path, *, transductive: bool = False, device: str = "auto"
) -> dict[str, pd.DataFrame]:
    """Train on the training part, choose the epoch on validation, score once on the test part.

    ``folder`` keeps unfinished training, and the network in :data:`NETWORK`. Returned are
    ``results``, ``predictions`` and ``history``; raises as :func:`evaluate_frozen` does.
    """
    candidate, source = plan.candidate, plan.encoder()
    parts = checked_parts(source, corpus, candidate.fold, transductive=transductive)
    title = f"{candidate.label}, task {corpus.name}, fold {candidate.fold}, seed {candidate.seed}"
    tuned = fine_tune(
        source.trained, parts["train"], parts["valid"], plan.settings,
        folder=folder / "training", seed=candidate.seed, device=device, title=title,
    )  # fmt: skip
    embedder, head, train, test = tuned.embedder, tuned.head, parts["train"], parts["test"]
    seen = source.trained_on
    columns = [name for name in seen if name in corpus.clips]
    embedder.trained_on = pd.concat([seen, train.clips[columns]]).drop_duplicates()
    embedder.save(folder / NETWORK)
    facts = {"task": corpus.name, "n_train": len(train), **train.facts()}
    save_head(folder / NETWORK, replace(head, provenance={**head.provenance, **facts}))
    rmtree(folder / "training")
    warn_of_unseen(test.labels, head.classes, corpus.kind)
    vectors = embedder.embed(test, device=device)
    results, predictions = scored_rows(
        plan.keys(tuned), test, head.logits(vectors), head.classes,
        head.probabilities(vectors).max(axis=1),
        **_facts(candidate, parts, transductive),
        parameters=embedder.n_parameters, dimension=embedder.dim,
        setting=head.provenance["setting"], chosen_on=head.provenance["chosen_on"],
        validation=tuned.validation, validation_error=tuned.validation_error,
    )  # fmt: skip
    named = {"encoder": candidate.label, "source": candidate.source}
    history = tuned.history.assign(task=corpus.name, **named, **candidate.repeat._asdict())
    return {"results": results, "predictions": predictions, "history": history}


def warn_of_unseen(labels: ArrayLike, classes: Iterable[str], kind: LabelKind) -> None:
    """Name the labels that no training clip has; predictions for their clips can only be wrong."""
    names = np.asarray(labels, dtype=object).astype(str)
    if unseen := sorted(set(map(str, kind.classes(names))) - set(map(str, classes))):
        n = sum(not set(unseen).isdisjoint(kind.classes([name])) for name in names)
        log.warning("no training clip is labelled %s: %d test clips count as errors", unseen, n)
