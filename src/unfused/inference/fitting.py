"""From a trained encoder and a task's labels to a classifier: the linear probe of evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import NotFoundError
from ..core.repeats import Repeat, matching_fold, repeat_named
from ..embeddings.embed import embed_clips
from ..embeddings.pieces import Protocol
from ..encoders.collection import EncoderCollection
from ..encoders.trained import TrainedEncoder
from ..probes.frozen_evaluation import fit_probe
from ..probes.head import SETTINGS_FILE, Head
from ..probes.linear_probe import LinearProbe
from ..probes.supervised_evaluation import NETWORK
from ..tasks.task_data import TaskData

STUDENTS = {"unfused": "student", "unfused_full": "full"}
"""Encoders of self-distillation, as results name them -> the folder they are kept in."""


@dataclass(frozen=True)
class Choice:
    """Which trained encoder is to be used.

    Attributes:
        encoder: ``unfused``, ``unfused_full`` or a method; of networks also ``supervised``.
        source: Where the pseudo-labels of ``unfused`` and ``unfused_full`` came from.
        seed: Seed of the repeat; None: the first.
        fold: Fold of the repeat; None: the first.
    """

    encoder: str
    source: str
    seed: int | None = None
    fold: int | None = None

    @property
    def known_source(self) -> str:
        """The source as results name it: none for a method."""
        return self.source if self.encoder in STUDENTS else ""

    def repeat(self, named: Iterable[str], prefix: str = "") -> Repeat:
        """Return the first repeat that was asked for.

        Args:
            named: Folders ``<prefix><repeat>``, and others.
            prefix: What stands before the repeat.

        Raises:
            FileNotFoundError: There is none.
        """
        names = sorted(set(named))
        repeats = sorted(
            repeat_named(name)
            for name in names
            if re.fullmatch(re.escape(prefix) + r"seed\d+-fold\d+", name)
        )
        for repeat in repeats:
            if self.seed in (None, repeat.seed) and self.fold in (None, repeat.fold):
                return repeat
        asked = {"source": self.known_source or None, "seed": self.seed, "fold": self.fold}
        given = ", ".join(
            f"model.{key}={value}" for key, value in asked.items() if value is not None
        )
        raise NotFoundError(
            f"no trained {self.encoder!r} with {given}; there are {names or 'none'}: choose one of "
            "these, or train it first (kedro run --pipeline=unfused)"
        )

    def encoder_name(self, encoders: EncoderCollection) -> tuple[str, Repeat]:
        """Return the name of the encoder in a collection, and its repeat.

        Raises:
            FileNotFoundError: It is not there.
        """
        folders = [name.partition("/")[0] for name in encoders.names()]
        if self.encoder not in STUDENTS:
            seed = replace(self, fold=None).repeat(folders).seed
            name = (
                self.repeat(folders).name
                if self.fold is None
                else encoders.matching(seed, self.fold)
            )
            return name, repeat_named(name)
        repeat = self.repeat(folders, f"{self.source}-")
        return f"{self.source}-{repeat.name}/{STUDENTS[self.encoder]}", repeat

    def task_fold(self, task: TaskData, repeat: Repeat) -> int:
        """Return which of a task's folds a repeat's encoder may be probed on."""
        return matching_fold(repeat.fold if self.fold is None else self.fold, task.folds)

    def facts(self, repeat: Repeat) -> dict[str, Any]:
        """Return what a head's provenance says of the encoder."""
        return {"encoder": self.encoder, "source": self.known_source, "seed": repeat.seed}

    def network(self, trainings: Path) -> Path:
        """Return the folder of a network that was trained end to end.

        Args:
            trainings: Folder with one training ``<encoder>-<repeat>`` in each sub-folder.

        Raises:
            FileNotFoundError: It is not there.
        """
        found = [path.parents[1].name for path in trainings.glob(f"*/{NETWORK}/{SETTINGS_FILE}")]
        if not found and list(trainings.glob("*/fingerprint.json")):
            raise NotFoundError(
                f"the trainings in {trainings} are of a version that kept their scores but not "
                "their networks: delete this folder, and run the study again"
            )
        repeat = self.repeat(found, f"{self.encoder}-")
        return trainings / f"{self.encoder}-{repeat.name}" / NETWORK


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
