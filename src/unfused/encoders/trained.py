"""A trained encoder with all it takes to use it again, and its folder on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from ..core.errors import NotFoundError, UserError
from .encoder import Encoder
from .origin import provenance as provenance
from .projector import Projector
from .registry import ENCODERS, create

FORMAT_VERSION = 1
_BEFORE_SCALES = {"mel_scale": "slaney", "norm": "slaney"}  # of encoders saved without a choice
TRAINED_ON_COLUMNS = ("corpus", "clip_id", "digest")  # and offset, frames where they are known
WEIGHTS_FILE, SETTINGS_FILE = "encoder.safetensors", "encoder.json"
_TRAINED_ON = "trained_on.parquet"


@dataclass(repr=False)
class TrainedEncoder:
    """An encoder, the input it expects and where it comes from.

    Attributes:
        encoder: The network.
        name: What messages call it, usually the registered name of its architecture.
        front_end: Fields of the log-mel front-end it was trained with (a dataclass is unpacked).
        mean: Mean of the training clips' log-mels.
        std: Their standard deviation.
        provenance: How it was made; see :func:`unfused.encoders.provenance`.
        projector: The method's projector, where pseudo-labels are to be made from its output.
    """

    encoder: Encoder
    name: str
    front_end: dict[str, Any]
    mean: float
    std: float
    provenance: dict[str, Any] = field(default_factory=dict)
    projector: Projector | None = None

    def __post_init__(self) -> None:
        if is_dataclass(self.front_end) and not isinstance(self.front_end, type):
            self.front_end = asdict(self.front_end)
        self.mean, self.std = float(self.mean), float(self.std)
        if not self.std > 0.0:
            raise UserError(f"std={self.std} must be positive: were all log-mels the same?")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, dim={self.encoder.dim})"

    def normalise(self, log_mel: Tensor) -> Tensor:
        """Turn log-mels as stored into the encoder's input, (B, T, F) -> (B, 1, F, T)."""
        return ((log_mel - self.mean) / self.std).transpose(1, 2).unsqueeze(1)

    def check_front_end(self, front_end: Any) -> None:
        """Refuse log-mels that another front-end made.

        Args:
            front_end: The other front-end, a dataclass or a mapping of its fields.

        Raises:
            ValueError: A field differs; the message names the differences.
        """
        given = dict(front_end) if isinstance(front_end, Mapping) else asdict(front_end)
        mine, other = {**_BEFORE_SCALES, **self.front_end}, {**_BEFORE_SCALES, **given}
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

    Every file is written under a temporary name and renamed; the JSON comes last and holds the
    weights' checksum, so that an interrupted save is noticed when loading.

    Args:
        folder: Where to; made if missing.
        trained: What to save.
        clip_ids: The clips that it has seen, with columns ``corpus``, ``clip_id`` and ``digest``.

    Raises:
        ValueError: The weights are not finite, the encoder is not in the registry, or a column of
            ``clip_ids`` is missing.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = save(_tensors(trained))
    settings = _settings(trained, weights)
    _write(folder / WEIGHTS_FILE, lambda path: path.write_bytes(weights))
    if clip_ids is not None:
        seen = _seen(clip_ids)
        _write(folder / _TRAINED_ON, lambda path: seen.to_parquet(path, index=False))
    else:
        (folder / _TRAINED_ON).unlink(missing_ok=True)
    text = json.dumps(settings, indent=1, sort_keys=True)
    _write(folder / SETTINGS_FILE, lambda path: path.write_text(text, encoding="utf-8"))


def load_encoder(folder: str | Path) -> TrainedEncoder:
    """Read what :func:`save_encoder` wrote, on the CPU and in evaluation mode.

    Raises:
        FileNotFoundError: There is no encoder in ``folder``.
        ValueError: What is there is damaged, unfinished, or does not fit this version.
    """
    folder = Path(folder)
    for file in (SETTINGS_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise NotFoundError(
                f"{folder} holds no trained encoder: {file} is missing; "
                "give the folder that training wrote, or train again"
            )
    settings = _read_settings(folder)
    weights = (folder / WEIGHTS_FILE).read_bytes()
    if hashlib.blake2b(weights).hexdigest() != settings["checksum"]:
        raise UserError(
            f"{folder / WEIGHTS_FILE} is not the file that {SETTINGS_FILE} describes (interrupted "
            "save or damaged copy); copy the folder again, or train again"
        )
    trained = _rebuild(settings)
    _fill(trained, load(weights), folder)
    return trained


def read_trained_on(folder: str | Path) -> pd.DataFrame | None:
    """Return the clips that the encoder in ``folder`` has seen; None if they were not recorded."""
    path = Path(folder) / _TRAINED_ON
    return pd.read_parquet(path) if path.is_file() else None


def _modules(trained: TrainedEncoder) -> dict[str, nn.Module]:
    modules: dict[str, nn.Module] = {"encoder": trained.encoder}
    if trained.projector is not None:
        modules["projector"] = trained.projector
    return modules


def _tensors(trained: TrainedEncoder) -> dict[str, Tensor]:
    tensors = {
        f"{prefix}.{key}": tensor.detach().to("cpu", copy=True).contiguous()
        for prefix, module in _modules(trained).items()
        for key, tensor in module.state_dict().items()
    }
    broken = [key for key, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise UserError(
            f"encoder {trained.name!r} has NaN or infinite weights in {broken[:3]}; training "
            "diverged: lower the learning rate or set gradient_clip"
        )
    return tensors


def _settings(trained: TrainedEncoder, weights: bytes) -> dict[str, Any]:
    architecture = getattr(type(trained.encoder), "name", None)
    if ENCODERS.classes().get(str(architecture)) is not type(trained.encoder):
        raise UserError(
            f"{type(trained.encoder).__name__} is not in the encoder registry, so it could not be "
            f"loaded again: give the class a `name` and put its file in {ENCODERS.package}"
        )
    return {
        "format": FORMAT_VERSION,
        "name": trained.name,
        "architecture": {"name": architecture, "settings": trained.encoder.settings},
        "projector": None if trained.projector is None else trained.projector.settings,
        "front_end": trained.front_end,
        "mean": trained.mean,
        "std": trained.std,
        "provenance": trained.provenance,
        "checksum": hashlib.blake2b(weights).hexdigest(),
    }


def _read_settings(folder: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{folder / SETTINGS_FILE} is damaged ({error}); train again") from error
    if settings.get("format") != FORMAT_VERSION:
        raise UserError(
            f"{folder / SETTINGS_FILE} has format {settings.get('format')!r}, this version reads "
            f"{FORMAT_VERSION}; use the version of unfused that wrote it, or train again"
        )
    return settings


def _rebuild(settings: Mapping[str, Any]) -> TrainedEncoder:
    architecture = settings["architecture"]
    encoder = create(architecture["name"], **architecture["settings"])
    projector = settings["projector"]
    return TrainedEncoder(
        encoder=encoder.eval(),
        name=settings["name"],
        front_end=settings["front_end"],
        mean=settings["mean"],
        std=settings["std"],
        provenance=settings["provenance"],
        projector=None if projector is None else Projector(**projector).eval(),
    )


def _fill(trained: TrainedEncoder, tensors: dict[str, Tensor], folder: Path) -> None:
    """Load every tensor into its module; none may be missing, left over or of another shape."""
    expected = {
        f"{prefix}.{key}": tensor.shape
        for prefix, module in _modules(trained).items()
        for key, tensor in module.state_dict().items()
    }
    wrong = sorted(
        key
        for key in expected.keys() | tensors.keys()
        if key not in tensors or expected.get(key) != tensors[key].shape
    )
    if wrong:
        raise UserError(
            f"{folder / WEIGHTS_FILE} does not fit the architecture in {SETTINGS_FILE}: tensors "
            f"{wrong[:5]} are missing, left over or of another shape"
        )
    for prefix, module in _modules(trained).items():
        start = len(prefix) + 1
        module.load_state_dict(
            {key[start:]: tensors[key] for key in tensors if key.startswith(prefix + ".")}
        )


def _seen(clip_ids: pd.DataFrame) -> pd.DataFrame:
    missing = [column for column in TRAINED_ON_COLUMNS if column not in clip_ids]
    if missing:
        raise UserError(f"the table of clips lacks {missing}; it has {list(clip_ids.columns)}")
    known = [name for name in (*TRAINED_ON_COLUMNS, "offset", "frames") if name in clip_ids]
    return clip_ids.loc[:, known].reset_index(drop=True)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    os.replace(temporary, path)
