"""From a trained encoder and a task's labels to a classifier: the linear probe of evaluation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.repeats import Arm, arm_of, matching_fold
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
        seed: Seed of the arm; None: the first.
        fold: Fold of the arm; None: the first.
    """

    encoder: str
    source: str
    seed: int | None = None
    fold: int | None = None

    @property
    def known_source(self) -> str:
        """The source as results name it: none for a method."""
        return self.source if self.encoder in STUDENTS else ""

    def arm(self, named: Iterable[str], prefix: str = "") -> Arm:
        """Return the first arm that was asked for.

        Args:
            named: Folders ``<prefix><arm>``, and others.
            prefix: What stands before the arm.

        Raises:
            FileNotFoundError: There is none.
        """
        names = sorted(set(named))
        arms = sorted(
            arm_of(name)
            for name in names
            if re.fullmatch(re.escape(prefix) + r"seed\d+-fold\d+", name)
        )
        for arm in arms:
            if self.seed in (None, arm.seed) and self.fold in (None, arm.fold):
                return arm
        asked = {"source": self.known_source or None, "seed": self.seed, "fold": self.fold}
        given = ", ".join(
            f"model.{key}={value}" for key, value in asked.items() if value is not None
        )
        raise FileNotFoundError(
            f"no trained {self.encoder!r} with {given}; there are {names or 'none'}: choose one of "
            "these, or train it first (kedro run --pipeline=unfused)"
        )

    def encoder_name(self, encoders: EncoderCollection) -> tuple[str, Arm]:
        """Return the name of the encoder in a collection, and its arm.

        Raises:
            FileNotFoundError: It is not there.
        """
        folders = [name.partition("/")[0] for name in encoders.names()]
        if self.encoder not in STUDENTS:
            seed = replace(self, fold=None).arm(folders).seed
            name = (
                self.arm(folders).name if self.fold is None else encoders.matching(seed, self.fold)
            )
            return name, arm_of(name)
        arm = self.arm(folders, f"{self.source}-")
        return f"{self.source}-{arm.name}/{STUDENTS[self.encoder]}", arm

    def task_fold(self, task: TaskData, arm: Arm) -> int:
        """Return which of a task's folds an arm's encoder may be probed on."""
        return matching_fold(arm.fold if self.fold is None else self.fold, task.folds)

    def facts(self, arm: Arm) -> dict[str, Any]:
        """Return what a head's provenance says of the encoder."""
        return {"encoder": self.encoder, "source": self.known_source, "seed": arm.seed}

    def network(self, trainings: Path) -> Path:
        """Return the folder of a network that was trained end to end.

        Args:
            trainings: Folder with one training ``<encoder>-<arm>`` in each sub-folder.

        Raises:
            FileNotFoundError: It is not there.
        """
        found = [path.parents[1].name for path in trainings.glob(f"*/{NETWORK}/{SETTINGS_FILE}")]
        if not found and list(trainings.glob("*/fingerprint.json")):
            raise FileNotFoundError(
                f"the trainings in {trainings} are of a version that kept their scores but not "
                "their networks: delete this folder, and run the study again"
            )
        arm = self.arm(found, f"{self.encoder}-")
        return trainings / f"{self.encoder}-{arm.name}" / NETWORK


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
