"""Which encoders are compared: baselines, teacher, students and their controls, at which cuts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from ..arms import Arm, arms
from ..encoders.collection import EncoderCollection
from ..encoders.trained import TrainedEncoder
from ..training.pretraining import untrained_like


@dataclass(frozen=True)
class Candidate:
    """An encoder to be evaluated, loaded only when it is.

    Attributes:
        label: What it is called in the results: ``random_init``, the teacher's method, ``unfused``
            (the student), ``unfused_full`` or ``log_mel_statistics``.
        source: Where its pseudo-labels came from; empty where that does not apply.
        cuts: Taps at which it is evaluated.
        digest: Identifies its weights.
        load: Returns it; None for log-mel statistics, which need no encoder.
        trained_on: Returns the clips it has seen, columns corpus, clip_id and digest.
    """

    label: str
    source: str
    cuts: tuple[str, ...]
    digest: str
    load: Callable[[], TrainedEncoder | None]
    trained_on: Callable[[], pd.DataFrame]

    @property
    def name(self) -> str:
        """Name of the candidate's folder."""
        return f"{self.label}-{self.source}" if self.source else self.label


def list_candidates(
    teachers: EncoderCollection,
    students: EncoderCollection,
    arm: Arm,
    *,
    encoder: str,
    encoder_settings: Mapping[str, Any],
    cuts: Sequence[str],
    student_cut: str,
) -> list[Candidate]:
    """Return the candidates of one arm.

    Args:
        teachers: Pre-trained encoders.
        students: Folders ``<source>-<arm>`` with ``student`` and ``full``.
        arm: Seed and fold of the task.
        encoder: Architecture of the random encoder.
        encoder_settings: Its constructor's arguments.
        cuts: Taps at which whole encoders are evaluated.
        student_cut: The student's; whole encoders are evaluated there too, like for like.
    """
    name = teachers.matching(*arm)
    teacher = teachers.load(name)
    whole = tuple(dict.fromkeys([student_cut, *cuts]))

    def random() -> TrainedEncoder:
        return untrained_like(teacher, encoder, encoder_settings, arm.seed)

    initial = f"random {encoder} {dict(encoder_settings)} {teacher.mean} {teacher.std}"
    method = str(teacher.provenance["method"])
    return [
        Candidate("log_mel_statistics", "", ("",), "log_mel_statistics", lambda: None, _nothing),
        Candidate("random_init", "", whole, initial, random, partial(teachers.trained_on, name)),
        Candidate(
            method,
            "",
            whole,
            teachers.digest(name),
            lambda: teacher,
            partial(teachers.trained_on, name),
        ),
        *_students(students, arm, whole, student_cut),
    ]


def candidates_by_arm(
    teachers: EncoderCollection,
    students: EncoderCollection,
    seeds: Sequence[int],
    folds: Sequence[int],
    encoder: Any,
    cuts: Sequence[str],
    student_cut: str,
) -> Iterator[tuple[Arm, Candidate]]:
    """Yield every candidate of every arm; ``encoder`` has a ``name`` and ``settings``."""
    for arm in arms(seeds, folds):
        for candidate in list_candidates(
            teachers,
            students,
            arm,
            encoder=encoder.name,
            encoder_settings=encoder.settings,
            cuts=cuts,
            student_cut=student_cut,
        ):
            yield arm, candidate


def _students(
    students: EncoderCollection, arm: Arm, whole: tuple[str, ...], student_cut: str
) -> list[Candidate]:
    found = []
    for name in students.names():
        source_arm, _, kind = name.partition("/")
        source = source_arm.removesuffix(f"-{arm.name}")
        if source == source_arm:
            continue
        label = "unfused" if kind == "student" else "unfused_full"
        cuts = tuple(cut for cut in whole if (cut == student_cut) == (kind == "student"))
        if not cuts:
            continue
        found.append(
            Candidate(
                label,
                source,
                cuts,
                students.digest(name),
                partial(students.load, name),
                partial(students.trained_on, name),
            )
        )
    return found


def _nothing() -> pd.DataFrame:
    return pd.DataFrame(columns=["corpus", "clip_id", "digest"])
