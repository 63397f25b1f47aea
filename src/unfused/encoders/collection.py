"""The trained encoders of a study: which repeat's encoder lies in which folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..core.errors import NotFoundError, did_you_mean
from ..core.repeats import Repeat, matching_fold, repeat_named
from .trained import TrainedEncoder, load_encoder


class EncoderCollection:
    """Folders of trained encoders by the names of their repeats; loaded when used.

    Args:
        folders: Name, such as ``seed0-fold1``, -> folder.

    Raises:
        NotFoundError: Asked for an encoder that is not among them.
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
