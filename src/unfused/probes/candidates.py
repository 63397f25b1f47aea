"""Which encoders are compared: baselines, methods, students and their controls, at which cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.repeats import Repeat
from ..embeddings.pieces import Protocol
from ..encoders.collection import EncoderCollection
from ..encoders.registry import ENCODERS, settings_of
from ..encoders.trained import TrainedEncoder, load_encoder, read_trained_on
from ..training.pretraining import untrained_like

LOG_MEL_STATISTICS = "log_mel_statistics"
_UNTRAINED = ("random_init", LOG_MEL_STATISTICS)


@dataclass(frozen=True)
class Candidate:
    """An encoder to be evaluated, loaded only when it is.

    Attributes:
        label: What it is called in the results: ``random_init``, a method's name, ``unfused`` (the
            student), ``unfused_full`` or ``log_mel_statistics``.
        source: Where its pseudo-labels came from; empty where that does not apply.
        seed: Seed of its repeat.
        fold: Fold of the task that it is evaluated on.
        cuts: Taps at which it is evaluated.
        digest: Identifies what it computes.
        folder: Where it lies; of a random one, where the encoder lies whose normalisation it has;
            None for log-mel statistics, which need no encoder.
        random: ``encoder`` and ``settings`` of one that was not trained.
        embedding: What of a clip is embedded.
    """

    label: str
    source: str
    seed: int
    fold: int
    cuts: tuple[str, ...]
    digest: str
    folder: str | None = None
    random: Mapping[str, Any] | None = None
    embedding: Protocol = "whole_clip"

    @property
    def repeat(self) -> Repeat:
        """Seed and fold."""
        return Repeat(self.seed, self.fold)

    @property
    def name(self) -> str:
        """Label and source, as in names of folders."""
        return f"{self.label}-{self.source}" if self.source else self.label

    @property
    def key(self) -> str:
        """What it is found by among the candidates of a study."""
        return f"{self.name}-{self.repeat.name}"

    @property
    def pretraining_clips(self) -> int:
        """Number of clips that its weights were trained on; an untrained one only normalises."""
        return 0 if self.label.startswith(_UNTRAINED) else len(self.trained_on())

    def load(self) -> TrainedEncoder | None:
        """Return it; None for log-mel statistics."""
        if self.folder is None:
            return None
        trained = load_encoder(self.folder)
        if self.random is None:
            return trained
        return untrained_like(trained, self.random["encoder"], self.random["settings"], self.seed)

    def trained_on(self) -> pd.DataFrame:
        """Return the clips it has seen, columns corpus, clip_id and digest."""
        seen = read_trained_on(Path(self.folder)) if self.folder else None
        return pd.DataFrame(columns=["corpus", "clip_id", "digest"]) if seen is None else seen

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "cuts": list(self.cuts)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Candidate:
        """Return what :meth:`to_json` was made of."""
        return cls(**{**content, "cuts": tuple(content["cuts"])})


def list_candidates(
    methods: Mapping[str, EncoderCollection],
    students: EncoderCollection | None,
    repeats: Sequence[Repeat],
    *,
    encoder: str,
    encoder_settings: Mapping[str, Any],
    cuts: Sequence[str],
    student_cut: str,
    embedding: Protocol = "whole_clip",
) -> list[Candidate]:
    """Return the candidates of every repeat.

    A method that brings its own architecture (a Conformer among AudioNTTs) also brings a random
    encoder of it, ``random_init_<method>``.

    Args:
        methods: Method -> its pre-trained encoders; at least one.
        students: Names ``<source>-<repeat>/student`` and ``.../full``; None: there are none.
        repeats: Seeds and folds of the task.
        encoder: Architecture of the random encoder.
        encoder_settings: Its constructor's arguments.
        cuts: Taps at which whole encoders are evaluated; an encoder that has none of them is
            evaluated at its last.
        student_cut: The student's; whole encoders are evaluated there too, like for like.
        embedding: What of a clip is embedded.
    """
    whole, found = tuple(dict.fromkeys([student_cut, *cuts])), []
    usual = (encoder, dict(encoder_settings))
    for repeat in repeats:
        statistics = Candidate(LOG_MEL_STATISTICS, "", *repeat, ("",), LOG_MEL_STATISTICS)
        found.append(statistics)
        for number, (label, encoders) in enumerate(methods.items()):
            name = encoders.matching(*repeat)
            trained = encoders.load(name)
            place = str(encoders.folder(name))
            own = (trained.name, dict(trained.encoder.settings))
            if number == 0:
                found.append(_untrained("random_init", repeat, place, trained, usual, whole))
            if _architecture(*own) != _architecture(*usual):
                title = f"random_init_{label}"
                found.append(_untrained(title, repeat, place, trained, own, whole))
            known, digest = _cuts_of(trained, whole), encoders.digest(name)
            found.append(Candidate(label, "", *repeat, known, digest, place))
        found += _students(students, repeat, whole, student_cut) if students else []
    return [replace(candidate, embedding=embedding) for candidate in found]


def _untrained(
    label: str,
    repeat: Repeat,
    place: str,
    trained: TrainedEncoder,
    architecture: tuple[str, Mapping[str, Any]],
    cuts: tuple[str, ...],
) -> Candidate:
    """Return a random encoder with the normalisation of a trained one."""
    name, settings = architecture
    known = _cuts_of(untrained_like(trained, name, settings, repeat.seed), cuts)
    digest = f"random {name} {dict(settings)} {trained.mean} {trained.std} {repeat.seed}"
    random = {"encoder": name, "settings": dict(settings)}
    return Candidate(label, "", *repeat, known, digest, place, random)


def _cuts_of(trained: TrainedEncoder, cuts: tuple[str, ...]) -> tuple[str, ...]:
    known = tuple(cut for cut in cuts if cut in trained.encoder.dims)
    return known or (trained.encoder.cut,)


def _architecture(name: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return an architecture with its defaults filled in, so that equal ones compare equal."""
    defaults = {key: found.default for key, found in settings_of(ENCODERS.find(name)).items()}
    return name, {**defaults, **settings}


def _students(
    students: EncoderCollection, repeat: Repeat, whole: tuple[str, ...], student_cut: str
) -> list[Candidate]:
    found = []
    for name in students.names():
        source_repeat, _, kind = name.partition("/")
        source = source_repeat.removesuffix(f"-{repeat.name}")
        label = "unfused" if kind == "student" else "unfused_full"
        cuts = tuple(cut for cut in whole if (cut == student_cut) == (kind == "student"))
        if source != source_repeat and cuts:
            place = str(students.folder(name))
            found.append(Candidate(label, source, *repeat, cuts, students.digest(name), place))
    return found
