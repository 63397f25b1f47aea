"""What is compared on a task: untrained encoders, plain statistics, methods, students, controls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import UserError
from ..core.outputs import OutputFolder, check_output
from ..core.progress import progress
from ..core.repeats import Repeat
from ..core.source import source_digest
from ..embeddings.embedder import UNTRAINED, Embedder, EncoderEmbedder, Joined, as_embedder
from ..embeddings.read_out import Floats, ReadOut, deepest_tap, read_out
from ..encoders.trained import EncoderCollection, TrainedEncoder, load_encoder
from ..tasks.corpus import Corpus
from ..training.estimator import random_encoder
from .results import NO_CONTROLS, TRAIN, RowKeys

RANDOM_INIT = "random_init"
FULL = "_full"
EMBEDDING_STUDENT = "embedding_student"
"""The student that learnt its teacher's vectors, not pseudo-labels (ours)."""
PLAIN: Mapping[str, Mapping[str, Any]] = {
    "mfcc_statistics": {"kind": "mfcc_statistics"},
    "log_mel_statistics": {"kind": "log_mel_statistics", "segments": 3},
}
"""The plain alternatives to every encoder: their label -> their embedder."""


@dataclass(frozen=True)
class Candidate:
    """Whatever turns a task's clips into vectors and is to be evaluated; loaded only when it is.

    Label, source, read-out, seed and fold are those of :class:`~unfused.probes.results.RowKeys`.

    Attributes:
        embedder: What :func:`~unfused.embeddings.embedder.as_embedder` makes it of, JSON values; or
            ``{kind: untrained, encoder: name, settings: {}, seed: 0, read_out: {}}``, a random
            encoder with the normalisation of the one in ``folder``.
        folder: Where its encoder lies; None where it has none.
        digest: Identifies what it computes.
        pretraining_clips: Number of clips that its weights were trained on.
        facts: ``licence`` and ``pretraining_data``, where they are known.
        vectors: Where its :class:`Vectors` lie, once it has embedded them.
    """

    label: str
    source: str
    seed: int
    fold: int
    embedder: Mapping[str, Any]
    folder: str | None = None
    read_out: str = ""
    digest: str = ""
    pretraining_clips: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    vectors: str | None = None

    def described(self) -> Candidate:
        """Return it with the facts that loading it shows."""
        found = self.load()
        known = {key: found.facts.get(key) for key in ("licence", "pretraining_data")}
        return replace(
            self,
            read_out=found.read_out.name if isinstance(found, EncoderEmbedder) else "",
            digest=found.digest,
            pretraining_clips=0 if self.embedder["kind"] == UNTRAINED else len(found.trained_on),
            facts={key: value for key, value in known.items() if isinstance(value, str)},
        )

    @property
    def repeat(self) -> Repeat:
        """Seed and fold."""
        return Repeat(self.seed, self.fold)

    @property
    def name(self) -> str:
        """Label and source, as in names of folders."""
        return "-".join(filter(None, [self.label, self.source]))

    @property
    def key(self) -> str:
        """What it is found by among the candidates of a study."""
        return f"{self.name}-{self.repeat.name}-{self.digest}"

    @property
    def settings(self) -> dict[str, Any]:
        """Those of its embedder, folder included."""
        return {**self.embedder, **({"folder": self.folder} if self.folder else {})}

    def load(self) -> Embedder:
        """Return its embedder."""
        return as_embedder(self.settings)

    def identity(self) -> dict[str, Any]:
        """Return what decides the scores of a probe on it, once it has embedded the clips."""
        return {"candidate": self.key, "of": Path(str(self.vectors)).name}

    def keys(self, protocol: str, fitted_on: str = TRAIN) -> RowKeys:
        """Return what its result rows are called."""
        return RowKeys(self.label, self.source, self.read_out, protocol, fitted_on, *self.repeat)


def list_candidates(
    methods: Mapping[str, EncoderCollection],
    students: EncoderCollection | None,
    repeats: Sequence[Repeat],
    *,
    untrained: tuple[str, Mapping[str, Any]],
    read_outs: Sequence[ReadOut],
    others: Mapping[str, Mapping[str, Any]] = PLAIN,
    joined: Sequence[Sequence[str]] = (),
) -> list[Candidate]:
    """Return the candidates of every repeat, one for each way that an encoder is read out.

    A method that brings its own architecture (a Conformer among AudioNTTs) also brings a random
    encoder of it, ``random_init_<method>``. An encoder that has none of the read-outs' taps is read
    out at its own by the first of them.

    Args:
        methods: Method -> its pre-trained encoders; none where the teacher is from outside.
        students: Names ``<source>-<repeat>/student`` and ``.../full``; None: there are none.
        repeats: Seeds and folds of the task.
        untrained: Name and settings of the random encoder.
        read_outs: How encoders are read out.
        others: Label -> settings of embedders that no seed changes; they are evaluated once.
        joined: Labels of candidates that are also evaluated side by side.

    Raises:
        UserError: A label of ``joined`` is none of the candidates'.
    """
    found: list[Candidate] = []
    for repeat in repeats:
        if repeat.seed == repeats[0].seed:
            found += [Candidate(label, "", *repeat, given) for label, given in others.items()]
        folders = {label: of.folder(of.matching(*repeat)) for label, of in methods.items()}
        normalised = folders
        if students and not folders:  # the teacher is from outside
            normalised = {"": students.folder(f"teacher-{repeat.name}/full")}
        found += _untrained(repeat, normalised, untrained, read_outs)
        for label, folder in folders.items():
            found += _read_out(_encoder(label, "", repeat, folder), read_outs)
        found += _students(students, repeat, read_outs) if students else []
    found = [candidate.described() for candidate in found]
    pairs = [(repeat, labels) for repeat in repeats for labels in joined]
    return found + [item for pair in pairs for item in _side_by_side(*pair, found)]


class Vectors(NamedTuple):
    """One candidate's vectors of clips, and how many trained parameters a vector takes."""

    clip_ids: NDArray[np.str_]  # (N,)
    matrix: Floats  # (N, D)
    n_parameters: int

    @classmethod
    def load(cls, candidate: Candidate) -> Vectors:
        """Read what :func:`embed_candidates` left; refuse it, by UserError, if it is damaged."""
        if candidate.vectors is None:
            raise UserError(f"{candidate.name} has no vectors yet: embed_candidates makes them")
        folder = Path(candidate.vectors)
        check_output(folder)
        held = np.load(folder / "clips.npz")
        matrix = np.load(folder / "vectors.npy", mmap_mode="r")
        return cls(held["clip_ids"], matrix, int(held["n_parameters"]))

    def of(self, corpus: Corpus) -> Floats:
        """Return the vectors of a corpus's clips, (M, D); a UserError if one was not embedded."""
        rows = pd.Index(self.clip_ids).get_indexer(corpus.clips["clip_id"])
        if (rows < 0).any():
            raise UserError(f"{(rows < 0).sum()} clips of {corpus.name} were not embedded")
        return np.asarray(self.matrix[rows])


def embed_candidates(
    candidates: Sequence[Candidate], corpus: Corpus, outputs: OutputFolder, *, device: str = "auto"
) -> list[Candidate]:
    """Embed a corpus's clips with every candidate, once, see :attr:`Corpus.for_probes`.

    Read-outs of one encoder share its passes, those of a student the passes of the full network
    that it is a part of, joined candidates the vectors of their parts, and folds that share an
    encoder its vectors.

    Returns:
        The candidates, which know by then where their :class:`Vectors` lie.
    """
    clips = corpus.for_probes
    passes = _Passes(clips, device)
    source = source_digest("embeddings.embedder", "embeddings.outside", "encoders")
    known = {"corpus": clips.mark, "source": source}
    asked: dict[tuple[Any, ...], list[ReadOut]] = defaultdict(list)
    for item in candidates:
        parts = [item.embedder, *item.embedder.get("parts", ())]
        asked[_network(item)] += [ReadOut(**of["read_out"]) for of in parts if "read_out" in of]
    embedded = []
    for candidate in progress(candidates, total=len(candidates), desc="embedding", unit="encoder"):

        def build(folder: Path, of: Candidate = candidate) -> None:
            embedder = of.load()
            np.save(folder / "vectors.npy", passes.embed(embedder, asked[_network(of)]))
            clip_ids = clips.clips["clip_id"].to_numpy().astype(str)
            np.savez(folder / "clips.npz", clip_ids=clip_ids, n_parameters=embedder.n_parameters)

        made_of = {**known, "embedder": candidate.digest}
        folder = outputs.built(candidate.name, made_of, build)
        embedded.append(replace(candidate, vectors=str(folder)))
    return embedded


def vectors_in(candidate: Candidate, corpus: Corpus) -> Floats | None:
    """Return the vectors of a corpus's clips, (N, D); None if some were not embedded."""
    there = Vectors.load(candidate)
    return there.of(corpus) if corpus.clips["clip_id"].isin(there.clip_ids).all() else None


def _network(candidate: Candidate) -> tuple[Any, ...]:
    """Return what a student has in common with the full network that it is the first part of."""
    return candidate.label.removesuffix(FULL), candidate.source, candidate.repeat


class _Passes:
    """Vectors of clips by several embedders; an encoder passes over them once for its read-outs."""

    def __init__(self, clips: Corpus, device: str) -> None:
        self.clips, self.device = clips, device
        self.found: dict[tuple[str, ReadOut], Floats] = {}  # of the last encoder
        self.others: dict[str, Floats] = {}  # of what is no encoder, by digest

    def embed(self, embedder: Embedder, asked: Sequence[ReadOut]) -> Floats:
        """Return the clips' vectors, (N, D); ``asked`` is how else its network is read out."""
        if isinstance(embedder, Joined):
            return np.concatenate([self.embed(part, asked) for part in embedder.parts], axis=1)
        if not isinstance(embedder, EncoderEmbedder):
            if embedder.digest not in self.others:
                self.others[embedder.digest] = embedder.embed(self.clips, device=self.device)
            return self.others[embedder.digest]
        trained, mine = embedder.trained, embedder.read_out
        if (key := (_heard(trained, mine), mine)) not in self.found:
            known = [
                item.of(trained) for item in asked if set(item.taps) <= {*trained.encoder.dims}
            ]
            items = list(dict.fromkeys([mine, *known]))
            given = trained, self.clips.store, self.clips.rows, items
            keys = [(_heard(trained, item), item) for item in items]
            self.found = dict(zip(keys, read_out(*given, device=self.device), strict=True))
        return self.found[key]


def _heard(trained: TrainedEncoder, item: ReadOut) -> str:
    """Return a hash of the encoder up to the deepest tap of a read-out."""
    part = trained.encoder.truncated(deepest_tap(trained.encoder, item.taps))
    return EncoderEmbedder(replace(trained, encoder=part)).weights


def _untrained(
    repeat: Repeat,
    folders: Mapping[str, Path],
    untrained: tuple[str, Mapping[str, Any]],
    read_outs: Sequence[ReadOut],
) -> Iterator[Candidate]:
    """Yield a random encoder, and one of each other architecture in ``folders``."""
    usual = untrained[0], random_encoder(*untrained, seed=0).settings  # all of them
    for number, (label, folder) in enumerate(folders.items()):
        trained = load_encoder(folder)
        own = trained.name, trained.encoder.settings
        random = {RANDOM_INIT: untrained} if number == 0 else {}
        if own != usual:
            random[f"{RANDOM_INIT}_{label}"] = own
        for title, (name, settings) in random.items():
            given = {"encoder": name, "settings": dict(settings), "seed": repeat.seed}
            bare = Candidate(title, "", *repeat, {"kind": UNTRAINED, **given}, str(folder))
            yield from _read_out(bare, read_outs)


def _students(
    students: EncoderCollection, repeat: Repeat, read_outs: Sequence[ReadOut]
) -> Iterator[Candidate]:
    """Yield students, and full ones where they can be read out as the cut ones cannot."""
    for name in students.names():
        source_repeat, _, kind = name.partition("/")
        source = source_repeat.removesuffix(f"-{repeat.name}")
        if source == source_repeat:
            continue
        label, wanted = "unfused", read_outs
        if source == "embeddings":
            label, source = EMBEDDING_STUDENT, ""
        if kind != "student":
            label += FULL
            short = set(students.load(f"{source_repeat}/student").encoder.dims)
            wanted = [item for item in read_outs if not set(item.taps) <= short]
        if wanted:
            yield from _read_out(_encoder(label, source, repeat, students.folder(name)), wanted)


def _encoder(label: str, source: str, repeat: Repeat, folder: Path) -> Candidate:
    return Candidate(label, source, *repeat, {"kind": EncoderEmbedder.kind}, str(folder))


def _read_out(bare: Candidate, read_outs: Sequence[ReadOut]) -> list[Candidate]:
    """Return an encoder once for each way of reading it out that it has the taps for."""
    encoder: Any = replace(bare, embedder={**bare.embedder, "read_out": {}}).load()
    taps = set(encoder.trained.encoder.dims)
    known = [item for item in read_outs if set(item.taps) <= taps] or [
        replace(read_outs[0], taps=())
    ]
    return [replace(bare, embedder={**bare.embedder, "read_out": asdict(item)}) for item in known]


def _side_by_side(
    repeat: Repeat, labels: Sequence[str], found: Sequence[Candidate]
) -> Iterator[Candidate]:
    """Yield candidates that put others side by side, one for each read-out that they share."""
    usable = [
        item for item in found
        if item.source in NO_CONTROLS and item.fold == repeat.fold
        and (item.seed == repeat.seed or not item.read_out)
    ]  # fmt: skip
    parts = [[item for item in usable if item.label == label] for label in labels]
    if not all(parts):
        known = sorted({item.label for item in usable})
        raise UserError(f"joined={list(labels)} must name some of {known}", remedy="joined")
    read_outs = dict.fromkeys(item.read_out for items in parts for item in items if item.read_out)
    for name in read_outs or [""]:
        of_name = [[item for item in items if item.read_out in ("", name)] for items in parts]
        if all(of_name):
            members = [items[0] for items in of_name]
            given = {"kind": Joined.kind, "parts": [item.settings for item in members]}
            source = max(item.source for item in members)
            bare = Candidate(" + ".join(labels), source, *repeat, given)
            yield replace(bare.described(), read_out=name)
