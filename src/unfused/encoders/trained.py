"""A trained encoder with all it takes to use it again, its folder on disk, and many of them."""

import json
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ..core.errors import NotFoundError, UserError, did_you_mean
from ..core.outputs import check_output, digest_of, write_bytes, write_json
from ..core.repeats import Repeat, matching_fold, repeat_named
from .encoder import Encoder, band_means
from .registry import ENCODERS, create

FORMAT_VERSION = 3
TRAINED_ON = ("corpus", "clip_id", "digest")  # and offset, frames where they are known
WEIGHTS_FILE, SETTINGS_FILE = "encoder.safetensors", "encoder.json"
TRAINED_ON_FILE = "trained_on.parquet"
PACKAGES = ("unfused", "torch", "numpy", "scikit-learn", "soundfile", "soxr")


@dataclass(repr=False)
class TrainedEncoder:
    """An encoder, the input it expects and where it comes from.

    Attributes:
        encoder: The network.
        name: What messages call it, usually the registered name of its architecture.
        front_end: Fields of the log-mel front-end it was trained with; a dataclass is unpacked.
        mean: Mean of the training clips' log-mels.
        std: Their standard deviation.
        provenance: How it was made; see :func:`unfused.encoders.provenance`.
        clip_normalisation: Whether each input's mean in every mel band is subtracted from it.
    """

    encoder: Encoder
    name: str
    front_end: dict[str, Any]
    mean: float
    std: float
    provenance: dict[str, Any] = field(default_factory=dict)
    clip_normalisation: bool = False

    def __post_init__(self) -> None:
        if is_dataclass(self.front_end) and not isinstance(self.front_end, type):
            self.front_end = asdict(self.front_end)
        self.mean, self.std = float(self.mean), float(self.std)
        if not self.std > 0.0:
            raise UserError(f"std={self.std} must be positive: were all log-mels the same?")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, dim={self.encoder.dim})"

    def normalise(self, log_mel: Tensor, spans: Tensor | None = None) -> Tensor:
        """Turn log-mels as stored, in nats, into the encoder's input, (B, T, F) -> (B, 1, F, T).

        Clip normalisation looks at the real part of each alone, ``spans``, (B, 2); None: all of it.
        """
        normal = ((log_mel - self.mean) / self.std).transpose(1, 2).unsqueeze(1)
        if self.clip_normalisation:
            normal = normal - band_means(normal, spans)[:, None, :, None]
        return normal

    def check_front_end(self, front_end: Any) -> None:
        """Refuse log-mels that another front-end, a dataclass, made.

        Raises:
            UserError: A field differs; the message names the differences.
        """
        mine, other = self.front_end, asdict(front_end)
        differing = [
            f"{key}: {mine.get(key)} here, {other.get(key)} there"
            for key in sorted(mine.keys() | other.keys())
            if mine.get(key) != other.get(key)
        ]
        if differing:
            raise UserError(
                f"encoder {self.name!r} expects log-mels of another front-end "
                f"({'; '.join(differing)}); extract the log-mels again with the encoder's settings"
            )


def save_encoder(
    folder: str | Path, trained: TrainedEncoder, clip_ids: pd.DataFrame | None = None
) -> None:
    """Write ``encoder.safetensors``, ``encoder.json`` and, if given, ``trained_on.parquet``.

    The JSON comes last and holds the weights' digest, so that an interrupted save is noticed when
    loading.

    ``clip_ids`` are the clips that it has seen, with columns ``corpus``, ``clip_id``, ``digest``.

    Raises:
        UserError: The weights are not finite, the encoder is not in the registry, or a column of
            ``clip_ids`` is missing.
    """
    architecture = getattr(type(trained.encoder), "name", None)
    if ENCODERS.classes().get(str(architecture)) is not type(trained.encoder):
        raise UserError(
            f"{type(trained.encoder).__name__} is not in the encoder registry, so it could not be "
            f"loaded again: give the class a `name` and put its file in {ENCODERS.package}"
        )
    tensors = {
        name: tensor.to("cpu", copy=True).contiguous()
        for name, tensor in trained.encoder.state_dict().items()
    }
    if broken := [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]:
        raise UserError(
            f"encoder {trained.name!r} has NaN or infinite weights in {broken[:3]}: lower the "
            "learning rate or set gradient_clip"
        )
    if clip_ids is not None and (missing := [c for c in TRAINED_ON if c not in clip_ids]):
        raise UserError(f"the table of clips lacks {missing}; it has {list(clip_ids.columns)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (SETTINGS_FILE, TRAINED_ON_FILE):
        (folder / name).unlink(missing_ok=True)
    if clip_ids is not None:
        seen = clip_ids[[c for c in (*TRAINED_ON, "offset", "frames") if c in clip_ids]]
        write_bytes(folder / TRAINED_ON_FILE, seen.to_parquet(index=False))
    facts = {item.name: getattr(trained, item.name) for item in fields(trained)}
    facts.pop("encoder")
    facts["architecture"] = {"name": architecture, "settings": trained.encoder.settings}
    save_weights(folder / WEIGHTS_FILE, save(tensors), facts, FORMAT_VERSION)


def load_encoder(folder: str | Path) -> TrainedEncoder:
    """Read what :func:`save_encoder` wrote, on the CPU and in evaluation mode.

    Raises:
        NotFoundError: There is no encoder in ``folder``.
        UserError: What is there is damaged, unfinished, or does not fit this version.
    """
    weights_file = Path(folder) / WEIGHTS_FILE
    content = read_facts(weights_file, FORMAT_VERSION, "trained encoder", "train again")
    architecture = content.pop("architecture")
    encoder = create(architecture["name"], **architecture["settings"]).eval()
    trained = TrainedEncoder(encoder, **content)
    try:
        encoder.load_state_dict(load_file(weights_file))
    except RuntimeError as error:  # missing, left over or of another shape
        words = f"{weights_file} does not fit the architecture in {SETTINGS_FILE}: {error}"
        raise UserError(words) from error
    return trained


def save_weights(file: Path, weights: bytes, facts: Mapping[str, Any], version: int) -> None:
    """Write weights, and last the JSON beside them, with facts, format and the weights' digest."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, weights)
    known = {**facts, "format": version, "checksum": digest_of(file)}
    write_json(file.with_suffix(".json"), known)


def read_facts(file: Path, version: int, what: str, remedy: str) -> dict[str, Any]:
    """Return the facts beside weights that :func:`save_weights` wrote, if both are whole.

    Raises:
        NotFoundError: One of the files is missing: there is no such thing in the folder.
        UserError: They are damaged, unfinished, or do not fit this version.
    """
    check_output(file.parent)
    settings = file.with_suffix(".json")
    for wanted in (settings, file):
        if not wanted.is_file():
            raise NotFoundError(
                f"{file.parent} holds no {what}: {wanted.name} is missing; give the folder that "
                "one was saved in"
            )
    try:
        content: dict[str, Any] = json.loads(settings.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{settings} is damaged ({error}); {remedy}") from error
    if (found := content.pop("format", None)) != version:
        raise UserError(
            f"{settings} is not of format {version}: it has format {found!r}; use the version of "
            f"unfused that wrote it, or {remedy}"
        )
    if content.pop("checksum") != digest_of(file):
        raise UserError(
            f"{file} is not the file that {settings.name} describes (interrupted save or damaged "
            f"copy): copy the folder again, or {remedy}"
        )
    return content


def read_trained_on(folder: str | Path) -> pd.DataFrame | None:
    """Return the clips that the encoder in ``folder`` has seen; None if they were not recorded."""
    path = Path(folder) / TRAINED_ON_FILE
    return pd.read_parquet(path) if path.is_file() else None


class EncoderCollection:
    """A study's trained encoders, by the names of their repeats (``seed0-fold1``) -> folders.

    They are loaded when used; one that is not among them is refused by a NotFoundError.
    """

    def __init__(self, folders: Mapping[str, str | Path]) -> None:
        self._folders = {name: Path(folder) for name, folder in sorted(folders.items())}

    def __repr__(self) -> str:
        return f"EncoderCollection({self.names()})"

    def names(self) -> list[str]:
        """Return the names, sorted."""
        return list(self._folders)

    def folder(self, name: str) -> Path:
        """Return where one encoder lies."""
        if name not in self._folders:
            raise NotFoundError(
                f"no encoder {name!r} among {self.names()}{did_you_mean(name, self._folders)}"
            )
        return self._folders[name]

    def load(self, name: str) -> TrainedEncoder:
        """Return one encoder."""
        return load_encoder(self.folder(name))

    def matching(self, seed: int, fold: int) -> str:
        """Return the name of the encoder that goes with a seed and with a fold of some task."""
        folds = [repeat.fold for repeat in map(repeat_named, self._folders) if repeat.seed == seed]
        if not folds:
            raise NotFoundError(f"no encoder of seed {seed} among {self.names()}")
        return Repeat(seed, matching_fold(fold, folds)).name


def provenance(
    *, method: str, seed: int, parameters: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """Return how an encoder was made: the arguments, versions and the git commit of the code."""
    facts = {"method": method, "seed": seed, "parameters": dict(parameters), **more}
    return {**facts, "versions": versions(), "git_commit": git_commit()}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def git_commit(folder: Path = Path(__file__).parent) -> str | None:
    """Return the git commit of the code in a folder; None outside a checkout."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
