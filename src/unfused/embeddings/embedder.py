"""Embedders: whatever turns the clips of a corpus into vectors, all used in the same way.

A trained encoder with its read-out, plain statistics of log-mels or MFCCs, and several of them side
by side; those from outside are in :mod:`.outside`. Another kind is one class more, with a ``kind``.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.fft import dct

from ..core.errors import NotFoundError, UserError, must_be
from ..core.outputs import check_output, mark_of, whole, write_json
from ..data.log_mel import FrontEnd
from ..encoders.trained import TrainedEncoder, load_encoder, read_trained_on, save_encoder
from ..tasks.corpus import Corpus
from ..training.estimator import untrained_like
from .audio_input import Audio, audio_store
from .read_out import (
    USUAL,
    Device,
    Embedding,
    Floats,
    ReadOut,
    deepest_tap,
    embed_with_frames,
    read_out,
)

FILE = "embedder.json"
UNTRAINED = "untrained"
"""The kind of a random encoder with the normalisation of a trained one."""
NOTHING = pd.DataFrame({"corpus": [], "clip_id": [], "digest": []}, dtype=str)


class Embedder(ABC):
    """Turns clips into vectors.

    Attributes:
        kind: What files call the class.
        name: What tables call it.
        dim: Dimension D of the vectors.
        n_parameters: Trained parameters that a vector takes; -1: nobody knows how many.
        digest: Identifies what it computes.
        trained_on: Clips that its weights have seen: columns corpus, clip_id, digest.
        facts: Licence, pre-training data and the like, for tables and model cards.
        names_code: Whether its settings name code that is run.
    """

    kind: ClassVar[str]
    names_code: ClassVar[bool] = False
    name: str
    dim: int
    n_parameters: int = 0
    digest: str
    trained_on: pd.DataFrame = NOTHING
    facts: Mapping[str, Any] = {}

    @abstractmethod
    def embed(self, audio: Corpus, *, device: Device = "auto") -> Floats:
        """Return the vectors of a corpus's clips, (N, D)."""

    def save(self, folder: str | Path) -> None:
        """Write it into a folder, with a record of its files last."""
        with whole(Path(folder)) as path:
            write_json(path / FILE, {"kind": self.kind, "name": self.name, **self._write(path)})

    @abstractmethod
    def _write(self, folder: Path) -> dict[str, Any]:
        """Write its files, if there are any, and return what else reading takes, JSON values."""

    @classmethod
    @abstractmethod
    def _read(cls, settings: dict[str, Any], folder: Path, trust_code: bool) -> Embedder:
        """Return what :meth:`save` wrote; ``trust_code`` is for parts of it."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, dim={self.dim})"


@dataclass(eq=False, repr=False, kw_only=True)
class Configured(Embedder):
    """What its settings describe; its fields are what a file keeps. A name "": by what it is."""

    name: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def _write(self, folder: Path) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def _read(cls, settings: dict[str, Any], folder: Path, trust_code: bool) -> Self:
        return cls(**settings)


class EncoderEmbedder(Embedder):
    """A trained encoder and how it is read out (None: :data:`~.read_out.USUAL`).

    It also embeds files and samples. ``trained_on`` are clips that it has seen, where they are
    recorded; its name is the encoder's, unless one is given.
    """

    kind = "encoder"

    def __init__(
        self,
        trained: TrainedEncoder,
        read_out: ReadOut | None = None,
        *,
        trained_on: pd.DataFrame | None = None,
        name: str | None = None,
    ) -> None:
        self.trained = trained
        self.read_out = (read_out or USUAL).of(trained)
        self.name = name or trained.name
        self.dim = self.read_out.dim(trained.encoder)
        if trained_on is not None:
            self.trained_on = trained_on
        self.facts = trained.provenance

    @cached_property
    def n_parameters(self) -> int:  # type: ignore[override]
        """Parameters up to the deepest tap that is read."""
        encoder = self.trained.encoder
        return encoder.truncated(deepest_tap(encoder, self.read_out.taps)).n_parameters

    @cached_property
    def weights(self) -> str:
        """A hash of the encoder's weights and normalisation."""
        found = hashlib.blake2b(repr((self.trained.mean, self.trained.std)).encode())
        for key, tensor in sorted(self.trained.encoder.state_dict().items()):
            found.update(key.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    @cached_property
    def digest(self) -> str:  # type: ignore[override]
        """Of weights, normalisation and read-out."""
        return mark_of(weights=self.weights, read_out=self.read_out)

    @property
    def front_end(self) -> FrontEnd:
        """How log-mels are made."""
        return FrontEnd(**self.trained.front_end)

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz that audio is converted to."""
        return self.front_end.sample_rate

    @overload
    def embed(self, audio: Corpus, *, device: Device = "auto") -> Floats: ...

    @overload
    def embed(
        self, audio: list[Audio], *, sample_rate: int | None = None, device: Device = "auto"
    ) -> list[Embedding]: ...

    @overload
    def embed(
        self, audio: Audio, *, sample_rate: int | None = None, device: Device = "auto"
    ) -> Embedding: ...

    def embed(
        self,
        audio: Corpus | Audio | list[Audio],
        *,
        sample_rate: int | None = None,
        device: Device = "auto",
    ) -> Floats | Embedding | list[Embedding]:
        """Embed a corpus, a clip, or a list of clips; a clip's vector depends on it alone.

        Args:
            audio: A corpus; or a path, samples (N,) or (channels, N) in [-1, 1]; or a list of them.
            sample_rate: Rate of samples in Hz; a file knows its own.
            device: Where to compute: ``auto`` (cuda, else mps, else cpu), or one of them.

        Returns:
            Vectors (N, D) of a corpus; ``frames`` (T, D'), ``clip`` (D,) and ``seconds`` (T,) of a
            clip, or a list of such.

        Raises:
            UnreadableAudio: A file cannot be used, or samples are not finite.
            UserError: Samples without their rate or of a wrong shape, or an empty list.
        """
        if isinstance(audio, Corpus):
            given = self.trained, audio.store, audio.rows, [self.read_out]
            return read_out(*given, device=device)[0]
        clips = audio if isinstance(audio, list) else [audio]
        store = audio_store(clips, self.front_end, sample_rate)
        found = embed_with_frames(self.trained, store, self.read_out, device=device)
        return found if isinstance(audio, list) else found[0]

    def _write(self, folder: Path) -> dict[str, Any]:
        save_encoder(folder, self.trained, None if self.trained_on is NOTHING else self.trained_on)
        return {"read_out": asdict(self.read_out)}

    @classmethod
    def _read(cls, settings: dict[str, Any], folder: Path, trust_code: bool) -> EncoderEmbedder:
        item, seen = ReadOut(**settings["read_out"]), read_trained_on(folder)
        return cls(load_encoder(folder), item, trained_on=seen, name=settings["name"])


@dataclass(eq=False, repr=False, kw_only=True)
class LogMelStatistics(Configured):
    """Mean of each mel band in each segment, and its standard deviation over the whole clip.

    Statistics take no training: the plain alternative to every encoder.

    Attributes:
        segments: Equal parts of the clip, one after the other, that each have a mean of their own.
        n_mels: Mel bands of the log-mels.
    """

    kind = "log_mel_statistics"
    title: ClassVar[str] = "Log-mel statistics"
    segments: int = 3
    n_mels: int = 64

    def __post_init__(self) -> None:
        must_be("at least 1", segments=self.segments)
        in_segments = f" in {self.segments} segments" if self.segments > 1 else ""
        self.name = self.name or self.title + in_segments
        self.dim = len(self._vector(np.zeros((self.segments, self.n_mels), np.float32)))
        decides = {k: v for k, v in asdict(self).items() if k not in ("name", "facts")}
        self.digest = mark_of(kind=self.kind, **decides)

    def embed(self, audio: Corpus, *, device: Device = "auto") -> Floats:
        """See :meth:`Embedder.embed`; computed on the CPU."""
        rows = [self._vector(audio.store.clip(int(row))) for row in audio.rows]
        return np.stack(rows).astype(np.float32)

    def _vector(self, log_mel: Floats) -> NDArray[np.floating]:
        return np.concatenate([*segment_means(log_mel, self.segments), log_mel.std(0)])


@dataclass(eq=False, repr=False, kw_only=True)
class MFCCStatistics(LogMelStatistics):
    """The same of mel-frequency cepstral coefficients, and the deviation of their differences.

    Attributes:
        n_mfcc: Coefficients, from the 0th, which is the level.
        step: Frames from one to the next that differences are taken over.
    """

    kind = "mfcc_statistics"
    title = "MFCC statistics"
    segments: int = 1
    n_mfcc: int = 20
    step: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.n_mfcc <= self.n_mels:
            raise UserError(f"n_mfcc={self.n_mfcc} must be from 1 to {self.n_mels}, the mel bands")
        super().__post_init__()

    def _vector(self, log_mel: Floats) -> NDArray[np.floating]:
        mfcc = dct(log_mel, type=2, norm="ortho", axis=1)[:, : self.n_mfcc]
        differences = mfcc[self.step :] - mfcc[: -self.step]
        spread = differences.std(0) if len(differences) else np.zeros(self.n_mfcc)
        return np.concatenate([super()._vector(mfcc), spread])


class Joined(Embedder):
    """Several embedders, two or more, side by side."""

    kind = "joined"

    def __init__(self, parts: Sequence[Embedder], name: str = "") -> None:
        if len(parts) < 2:
            raise UserError(f"{len(parts)} embedders cannot be joined; give two or more")
        self.parts = list(parts)
        self.name = name or " + ".join(part.name for part in parts)
        self.dim = sum(part.dim for part in parts)
        sizes = [part.n_parameters for part in parts]
        self.n_parameters = sum(sizes) if min(sizes) >= 0 else -1
        self.digest = mark_of(parts=[part.digest for part in parts])
        self.trained_on = pd.concat([part.trained_on for part in parts]).drop_duplicates()
        facts: dict[str, Any] = {part.name: dict(part.facts) for part in parts}
        for key in ("licence", "pretraining_data"):
            if said := dict.fromkeys(str(of.facts[key]) for of in parts if key in of.facts):
                facts[key] = "; ".join(said)
        self.facts = facts

    def embed(self, audio: Corpus, *, device: Device = "auto") -> Floats:
        """See :meth:`Embedder.embed`."""
        return np.concatenate([part.embed(audio, device=device) for part in self.parts], axis=1)

    def _write(self, folder: Path) -> dict[str, Any]:
        for number, part in enumerate(self.parts):
            part.save(folder / f"part{number}")
        return {"parts": len(self.parts)}

    @classmethod
    def _read(cls, settings: dict[str, Any], folder: Path, trust_code: bool) -> Joined:
        parts = [folder / f"part{i}" for i in range(settings["parts"])]
        embedders = [load_embedder(part, trust_code=trust_code) for part in parts]
        return cls(embedders, settings["name"])


def segment_means(frames: Floats, segments: int) -> list[Floats]:
    """Return the mean of each of a clip's equal parts, (T, D) -> segments times (D,).

    >>> [part.tolist() for part in segment_means(np.arange(6.0)[:, None], 3)]
    [[0.5], [2.5], [4.5]]
    """
    edges = np.arange(segments + 1) * len(frames) // segments
    begins = np.minimum(edges[:-1], len(frames) - 1)  # of very few frames some count twice
    ends = np.maximum(edges[1:], begins + 1)
    return [frames[begin:end].mean(0) for begin, end in zip(begins, ends, strict=True)]


def as_embedder(source: Any, read_out: ReadOut | None = None) -> Embedder:
    """Return an embedder of whatever stands for one.

    Args:
        source: An embedder, a trained encoder, a fitted estimator, a folder that one was saved in,
            or the name of plain statistics (``mfcc_statistics``, ``log_mel_statistics``); a mapping
            ``{kind: ..., ...}`` with the settings of a kind (see :mod:`.outside`); or a list of
            these, which are joined.
        read_out: How encoders are read out; None: :data:`~.read_out.USUAL`.

    Raises:
        UserError: It is none of these, or not fitted.
    """
    plain = [LogMelStatistics.kind, MFCCStatistics.kind]
    if isinstance(source, Embedder):
        return source
    if isinstance(source, TrainedEncoder):
        return EncoderEmbedder(source, read_out)
    if isinstance(source, list | tuple):
        return Joined([as_embedder(part, read_out) for part in source])
    if isinstance(source, Mapping):
        return _configured(source)
    if isinstance(source, str | Path):
        return _configured({"kind": source}) if source in plain else load_embedder(source, read_out)
    fitted = getattr(source, "student_", getattr(source, "encoder_", None))
    if fitted is None:
        raise UserError(
            f"{source!r} is no encoder: give a fitted method, load_encoder(...), an embedder, or "
            f"one of {plain}; call fit() first"
        )
    return EncoderEmbedder(fitted, read_out, trained_on=getattr(source, "trained_on_", None))


def load_embedder(
    folder: str | Path, read_out: ReadOut | None = None, *, trust_code: bool = False
) -> Embedder:
    """Read an embedder, or a trained encoder, which brings no read-out, from its folder.

    With ``trust_code`` code that the folder names is run, too: a function or a HEAR module.

    Raises:
        NotFoundError: Nothing of the kind is there.
        UserError: It is damaged, of a kind that this version does not know, or names code.
    """
    path = Path(folder)
    check_output(path)
    if not (path / FILE).is_file():
        return EncoderEmbedder(load_encoder(path), read_out, trained_on=read_trained_on(path))
    try:
        settings: dict[str, Any] = json.loads((path / FILE).read_text(encoding="utf-8"))
        kind = settings.pop("kind")
    except (ValueError, KeyError) as error:
        raise UserError(f"{path / FILE} is damaged ({error}); save it again") from error
    known = _kind(kind)
    if known.names_code and not trust_code:
        named = settings.get("function") or settings.get("module")
        raise UserError(
            f"{path / FILE} names code, {named!r}, and reading it would run that: give "
            "trust_code=True if you trust who made the folder"
        )
    try:
        found: Embedder = known._read(settings, path, trust_code)
    except (TypeError, KeyError) as error:
        raise UserError(
            f"{path / FILE} does not fit this version ({error}): save the embedder again"
        ) from error
    return found


def _configured(settings: Mapping[str, Any]) -> Embedder:
    """Return what a mapping ``{kind: ..., ...}`` describes."""
    given = dict(settings)
    kind = given.pop("kind", None)
    try:
        if kind == EncoderEmbedder.kind:
            item = ReadOut(**given["read_out"]) if "read_out" in given else None
            return load_embedder(given["folder"], item)
        if kind == UNTRAINED:  # by its normalisation it has seen what the trained one has
            how = given["encoder"], given["settings"], given["seed"]
            random = untrained_like(load_encoder(given["folder"]), *how)
            seen = read_trained_on(given["folder"])
            return EncoderEmbedder(random, ReadOut(**given["read_out"]), trained_on=seen)
        if kind == Joined.kind:
            return Joined([as_embedder(part) for part in given.pop("parts")], **given)
        made: Embedder = _kind(kind)(**given)
        return made
    except (TypeError, KeyError) as error:
        words = f"an embedder of kind={kind!r} cannot be made of {given}: {error}"
        raise UserError(words) from error


def _kind(kind: Any) -> Any:
    from . import outside

    here = EncoderEmbedder, Joined, LogMelStatistics, MFCCStatistics
    known = {found.kind: found for found in (*here, *outside.KINDS)}
    if kind not in known:
        raise NotFoundError(f"kind={kind!r} is no embedder's; choose from {sorted(known)}")
    return known[kind]
