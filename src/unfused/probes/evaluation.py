"""Evaluation on one task: frozen encoders (UnFuSeD's step 3) and networks trained on its labels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..core.errors import UserError
from ..core.outputs import digest_of
from ..embeddings.embedder import EncoderEmbedder
from ..encoders.trained import WEIGHTS_FILE, load_encoder
from ..tasks.corpus import PARTS, Corpus
from ..tasks.label_kinds import MULTI_LABEL, LabelKind
from ..tasks.leakage import check_no_leak
from .candidates import RANDOM_INIT, UNTRAINED, Candidate, Vectors
from .fine_tuning import FineTuningSettings, fine_tune
from .head import save_head
from .knn_probe import KNNProbe
from .probe import Probe
from .results import TRAIN, TRAIN_VALID, RowKeys, scored_rows

log = logging.getLogger(__name__)
FrozenProtocol = Literal["linear_probe", "knn"]
NETWORK = "network"
"""Where in a training's folder the trained network is kept: its embedder and its head."""
_SOURCES = ("", "teacher")  # controls are probed, not fine-tuned
_PROBES: dict[str, type[Probe]] = {"linear_probe": Probe, "knn": KNNProbe}


def checked_parts(
    trained_on: pd.DataFrame, corpus: Corpus, fold: int, *, transductive: bool
) -> dict[str, Corpus]:
    """Return the labelled parts of a fold, once sure that an encoder has seen no held-out clip.

    Args:
        trained_on: Clips that the encoder has seen.
        corpus: The task.
        fold: Which fold.
        transductive: Whether it may have seen held-out audio, without labels.

    Raises:
        LeakError: It has, and may not.
    """
    parts = {name: corpus.part(name, fold) for name in PARTS}
    if not transductive:
        check_no_leak(trained_on, pd.concat([parts["valid"].clips, parts["test"].clips]))
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

    Args:
        candidate: Which encoder.
        vectors: Its vectors of the task's labelled clips.
        corpus: The task.
        protocols: Which probes.
        transductive: Whether encoders may have seen held-out audio, without labels.

    Returns:
        ``results`` and ``predictions``, see :mod:`.results`, with rows of the probe fitted on
        training clips only, and rows of that fitted on validation clips too.

    Raises:
        LeakError: The encoder was trained on held-out clips and ``transductive`` is false.
    """
    seen = candidate.load().trained_on
    parts = checked_parts(seen, corpus, candidate.fold, transductive=transductive)
    test, kind = parts["test"], corpus.kind
    tables = []
    for protocol in protocols:
        probe = fit_probe(protocol, vectors, parts["train"], parts["valid"])
        warn_of_unseen(test.labels, probe.classes_, kind)
        if probe.chosen_on_ == "nothing":
            log.warning("%s: too few clips to choose the probe's setting", corpus.name)
        facts: dict[str, Any] = {
            **{f"n_{name}": len(part) for name, part in parts.items()},
            "parameters": vectors.n_parameters,
            "dimension": vectors.matrix.shape[1],
            "pretraining_clips": candidate.pretraining_clips,
            "setting": str(probe.setting_),
            "chosen_on": probe.chosen_on_,
            "validation": probe.validation_,
            "validation_error": probe.validation_error_,
            "transductive": transductive,
            **candidate.facts,
        }
        named = candidate.label, candidate.source, candidate.read_out, protocol
        for fitted_on, fitted in ((TRAIN, probe.train_), (TRAIN_VALID, probe.all_)):
            logits = fitted.logits(vectors.of(test))
            likely = logits
            if protocol == "linear_probe":
                several = kind is MULTI_LABEL
                likely = probe.calibration_.probabilities(logits, several=several)
            keys = RowKeys(*named, fitted_on, *candidate.repeat)
            tables.append(scored_rows(keys, test, logits, probe.classes_, likely.max(1), **facts))
    results, predictions = zip(*tables, strict=True)
    return {
        "results": pd.concat(results, ignore_index=True),
        "predictions": pd.concat(predictions, ignore_index=True),
    }


def fit_probe(
    protocol: str, vectors: Vectors, train: Corpus, valid: Corpus | None = None, *, seed: int = 0
) -> Probe:
    """Return a probe chosen and fitted on labelled clips.

    Args:
        protocol: ``linear_probe`` or ``knn``.
        vectors: Of these clips, and perhaps others.
        train: Training clips.
        valid: Validation clips; None or none: folds of the training clips choose.
        seed: Seed of the folds.

    Raises:
        UserError: The protocol is unknown, or see :meth:`Probe.fit`.
    """
    if protocol not in _PROBES:
        raise UserError(f"protocol={protocol!r} must be one of {list(_PROBES)}")
    parts = [train] if valid is None or not len(valid) else [train, valid]
    groups = [part.groups for part in parts]
    return _PROBES[protocol](kind=train.kind, seed=seed).fit(
        np.concatenate([vectors.of(part) for part in parts]),
        np.concatenate([part.labels for part in parts]),
        valid=np.repeat([False, True][: len(parts)], [len(part) for part in parts]),
        groups=None if any(item is None for item in groups) else np.concatenate(groups),  # type: ignore[arg-type]
    )


@dataclass(frozen=True)
class Plan:
    """One supervised training.

    Attributes:
        label: What it is called in the results.
        source: Where the encoder's pseudo-labels came from.
        settings: How to train.
        candidate: The encoder to start from.
    """

    label: str
    source: str
    settings: FineTuningSettings
    candidate: Candidate

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.label}-{self.candidate.repeat.name}"

    def identity(self) -> dict[str, Any]:
        """Return what decides the result: not how the encoder is read out."""
        start = self.candidate
        embedder = {key: value for key, value in start.embedder.items() if key != "read_out"}
        begins_with: Any = None
        if start.folder is not None and start.embedder["kind"] == UNTRAINED:
            like = load_encoder(start.folder)
            begins_with = [like.mean, like.std]
        elif start.folder is not None:
            begins_with = digest_of(Path(start.folder) / WEIGHTS_FILE)
        return {
            "label": self.label, "settings": self.settings, "embedder": embedder,
            "repeat": start.repeat, "begins_with": begins_with,
        }  # fmt: skip


def plans(
    candidates: Sequence[Candidate],
    encoders: Sequence[str],
    fine_tuning: FineTuningSettings,
    from_scratch: FineTuningSettings,
) -> list[Plan]:
    """Return what is trained: chosen encoders are fine-tuned, random ones trained from scratch.

    Args:
        candidates: Encoders, perhaps read out in several ways.
        encoders: Labels of those that are fine-tuned.
        fine_tuning: How they are.
        from_scratch: How a randomly initialised encoder is trained with labels only.
    """
    found: dict[tuple[str, str, Any], Plan] = {}
    for candidate in candidates:
        label, source = candidate.label, candidate.source
        if label in encoders and source in _SOURCES:
            plan = Plan(label, source, fine_tuning, candidate)
            found.setdefault((label, source, candidate.repeat), plan)
        if label.startswith(RANDOM_INIT):
            scratch = label.replace(RANDOM_INIT, "supervised")
            plan = Plan(scratch, "", from_scratch, candidate)
            found.setdefault((scratch, "", candidate.repeat), plan)
    return list(found.values())


def evaluate_fine_tuned(
    plan: Plan,
    corpus: Corpus,
    folder: Path,
    *,
    transductive: bool = False,
    device: str = "auto",
) -> dict[str, pd.DataFrame]:
    """Train on the training part, choose the epoch on validation, score once on the test part.

    Args:
        plan: What to train, and how.
        corpus: The task.
        folder: Keeps unfinished training, and the network in :data:`NETWORK`.
        transductive: Whether the encoder may have seen held-out audio, without labels.
        device: Where to train.

    Returns:
        ``results``, ``predictions`` and ``history``.

    Raises:
        LeakError: The encoder was trained on held-out clips and ``transductive`` is false.
    """
    candidate = plan.candidate
    source = candidate.load()
    if not isinstance(source, EncoderEmbedder):
        raise UserError(f"{candidate.label!r} has no encoder that could be fine-tuned")
    seen = source.trained_on
    parts = checked_parts(seen, corpus, candidate.fold, transductive=transductive)
    title = f"{plan.label}, task {corpus.name}, fold {candidate.fold}, seed {candidate.seed}"
    tuned = fine_tune(
        source.trained, parts["train"], parts["valid"], plan.settings,
        folder=folder / "training", seed=candidate.seed, device=device, title=title,
    )  # fmt: skip
    columns = [name for name in seen if name in corpus.clips]
    tuned.embedder.trained_on = pd.concat([seen, parts["train"].clips[columns]]).drop_duplicates()
    tuned.embedder.save(folder / NETWORK)
    facts = {"n_train": len(parts["train"]), **parts["train"].facts()}
    made = replace(tuned.head, provenance=tuned.head.provenance | {"task": corpus.name} | facts)
    save_head(folder / NETWORK, made)
    rmtree(folder / "training")
    test, classes = parts["test"], tuned.head.classes
    warn_of_unseen(test.labels, classes, corpus.kind)
    vectors = tuned.embedder.embed(test, device=device)
    keys = RowKeys(
        plan.label, plan.source, tuned.embedder.read_out.name, "fine_tuning", TRAIN,
        *candidate.repeat,
    )  # fmt: skip
    results, predictions = scored_rows(
        keys, test, tuned.head.logits(vectors), classes,
        tuned.head.probabilities(vectors).max(axis=1),
        **{f"n_{name}": len(part) for name, part in parts.items()},
        parameters=tuned.embedder.n_parameters, dimension=tuned.embedder.dim,
        pretraining_clips=candidate.pretraining_clips, transductive=transductive,
        setting=tuned.head.provenance["setting"], chosen_on=tuned.head.provenance["chosen_on"],
        validation=tuned.validation, validation_error=tuned.validation_error, **candidate.facts,
    )  # fmt: skip
    named = {"encoder": plan.label, "source": plan.source, **candidate.repeat._asdict()}
    history = tuned.history.assign(task=corpus.name, **named)
    return {"results": results, "predictions": predictions, "history": history}


def warn_of_unseen(labels: ArrayLike, classes: Iterable[str], kind: LabelKind) -> list[str]:
    """Name the labels that no training clip has; predictions for their clips can only be wrong."""
    unseen = sorted(set(map(str, kind.classes(labels))) - set(map(str, classes)))
    if unseen:
        names = np.asarray(labels, dtype=object).astype(str)
        n = sum(not set(unseen).isdisjoint(kind.classes([name])) for name in names)
        log.warning("no training clip is labelled %s: %d test clips count as errors", unseen, n)
    return unseen
