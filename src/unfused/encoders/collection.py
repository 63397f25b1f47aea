"""The trained encoders of a study: one folder per repeat."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..core.errors import NotFoundError
from ..core.repeats import Repeat, matching_fold, repeat_named
from ..core.workspace import KEPT
from .trained import TrainedEncoder, load_encoder, read_trained_on


@dataclass(frozen=True)
class EncoderCollection:
    """Encoders under one folder, found by name.

    Attributes:
        path: Folder whose sub-folders ``<name>`` hold encoders.
        folders: Those that belong to the study; the others are left from studies with other seeds
            or folds. None: all of them.
    """

    path: Path
    folders: tuple[str, ...] | None = None

    def names(self) -> list[str]:
        """Return the names of the encoders that are whole."""
        found = [file.parent.relative_to(self.path) for file in self.path.rglob("encoder.json")]
        current = [name for name in found if name.parts[0] != KEPT]
        chosen = [name for name in current if self.folders is None or name.parts[0] in self.folders]
        return sorted(map(str, chosen))

    def load(self, name: str) -> TrainedEncoder:
        """Return one encoder.

        Raises:
            FileNotFoundError: There is no encoder of this name.
        """
        folder = self.path / name
        if not (folder / "encoder.json").is_file():
            raise NotFoundError(
                f"no encoder {name!r} under {self.path}; there are {self.names() or 'none'}"
            )
        return load_encoder(folder)

    def matching(self, seed: int, fold: int) -> str:
        """Return the name of the encoder that goes with a seed and with a fold of some task.

        Raises:
            FileNotFoundError: No encoder has this seed.
        """
        folds = [repeat.fold for repeat in map(repeat_named, self.names()) if repeat.seed == seed]
        if not folds:
            raise NotFoundError(f"no encoder of seed {seed} under {self.path}")
        return Repeat(seed, matching_fold(fold, folds)).name

    def digest(self, name: str) -> str:
        """Return a hash of one encoder's weights."""
        weights = self.path / name / "encoder.safetensors"
        return hashlib.blake2b(weights.read_bytes(), digest_size=12).hexdigest()

    def trained_on(self, name: str) -> pd.DataFrame:
        """Return the clips that one encoder has seen, columns corpus, clip_id and digest."""
        seen = read_trained_on(self.path / name)
        if seen is None:
            raise NotFoundError(f"{self.path / name} does not say what it was trained on")
        return seen
