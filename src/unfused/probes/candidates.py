"""Which encoders are compared: baselines, methods, students and their controls, at which cuts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from ..core.repeats import Repeat, repeats
from ..encoders.collection import EncoderCollection
from ..encoders.registry import ENCODERS, settings_of
from ..encoders.trained import TrainedEncoder
from ..training.pretraining import untrained_like


@dataclass(frozen=True)
class Candidate:
    """An encoder to be evaluated, loaded only when it is.

    Attributes:
        label: What it is called in the results: ``random_init``, a method's name, ``unfused`` (the
            student), ``unfused_full`` or ``log_mel_statistics``.
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

    @property
    def pretraining_clips(self) -> int:
        """Number of clips that its weights were trained on; an untrained one only normalises."""
        untrained = self.label.startswith(("random_init", "log_mel_statistics"))
        return 0 if untrained else len(self.trained_on())


def list_candidates(
    methods: Mapping[str, EncoderCollection],
    students: EncoderCollection | None,
    repeat: Repeat,
    *,
    encoder: str,
    encoder_settings: Mapping[str, Any],
    cuts: Sequence[str],
    student_cut: str,
) -> list[Candidate]:
    """Return the candidates of one repeat.

    A method that brings its own architecture (a Conformer among AudioNTTs) also brings a random
    encoder of it, ``random_init_<method>``.

    Args:
        methods: Method -> its pre-trained encoders; at least one.
        students: Folders ``<source>-<repeat>`` with ``student`` and ``full``; None: there are none.
        repeat: Seed and fold of the task.
        encoder: Architecture of the random encoder.
        encoder_settings: Its constructor's arguments.
        cuts: Taps at which whole encoders are evaluated; an encoder that has none of them is
            evaluated at its last.
        student_cut: The student's; whole encoders are evaluated there too, like for like.
    """
    whole = tuple(dict.fromkeys([student_cut, *cuts]))
    pretrained = [_Pretrained(label, found, repeat) for label, found in methods.items()]
    usual = (encoder, dict(encoder_settings))
    found = [
        Candidate("log_mel_statistics", "", ("",), "log_mel_statistics", lambda: None, _nothing),
        pretrained[0].untrained("random_init", *usual, whole),
    ]
    for item in pretrained:
        trained = item.load()
        own = (trained.name, dict(trained.encoder.settings))
        if _architecture(*own) != _architecture(*usual):
            found.append(item.untrained(f"random_init_{item.label}", *own, whole))
        found.append(item.candidate(whole))
    return found + (_students(students, repeat, whole, student_cut) if students else [])


@dataclass(frozen=True)
class _Pretrained:
    """The encoder of one method that belongs to an repeat."""

    label: str
    encoders: EncoderCollection
    repeat: Repeat

    @property
    def name(self) -> str:
        return self.encoders.matching(*self.repeat)

    def load(self) -> TrainedEncoder:
        return self.encoders.load(self.name)

    def candidate(self, cuts: tuple[str, ...]) -> Candidate:
        """Return the encoder itself as a candidate."""
        return Candidate(
            self.label,
            "",
            _cuts_of(self.load(), cuts),
            self.encoders.digest(self.name),
            self.load,
            partial(self.encoders.trained_on, self.name),
        )

    def untrained(
        self, label: str, encoder: str, settings: Mapping[str, Any], cuts: tuple[str, ...]
    ) -> Candidate:
        """Return a random encoder with this one's normalisation as a candidate."""
        trained = self.load()

        def random() -> TrainedEncoder:
            return untrained_like(trained, encoder, settings, self.repeat.seed)

        return Candidate(
            label,
            "",
            _cuts_of(random(), cuts),
            f"random {encoder} {dict(settings)} {trained.mean} {trained.std} {self.repeat.seed}",
            random,
            partial(self.encoders.trained_on, self.name),
        )


def _cuts_of(trained: TrainedEncoder, cuts: tuple[str, ...]) -> tuple[str, ...]:
    known = tuple(cut for cut in cuts if cut in trained.encoder.dims)
    return known or (trained.encoder.cut,)


def _architecture(name: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return an architecture with its defaults filled in, so that equal ones compare equal."""
    defaults = {key: found.default for key, found in settings_of(ENCODERS.find(name)).items()}
    return name, {**defaults, **settings}


def candidates_by_repeat(
    methods: Mapping[str, EncoderCollection],
    students: EncoderCollection | None,
    seeds: Sequence[int],
    folds: Sequence[int],
    encoder: Any,
    cuts: Sequence[str],
    student_cut: str,
) -> Iterator[tuple[Repeat, Candidate]]:
    """Yield every candidate of every repeat; ``encoder`` has a ``name`` and ``settings``."""
    for repeat in repeats(seeds, folds):
        for candidate in list_candidates(
            methods,
            students,
            repeat,
            encoder=encoder.name,
            encoder_settings=encoder.settings,
            cuts=cuts,
            student_cut=student_cut,
        ):
            yield repeat, candidate


def _students(
    students: EncoderCollection, repeat: Repeat, whole: tuple[str, ...], student_cut: str
) -> list[Candidate]:
    found = []
    for name in students.names():
        source_repeat, _, kind = name.partition("/")
        source = source_repeat.removesuffix(f"-{repeat.name}")
        if source == source_repeat:
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
