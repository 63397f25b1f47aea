"""What datasets have in common that are a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, TypeVar

from kedro.io import AbstractDataset, DatasetError

Handle = TypeVar("Handle")


class FolderDataset(AbstractDataset[Handle, Handle], Generic[Handle]):
    """A dataset whose data stays in a folder.

    Args:
        filepath: The folder.
        metadata: Ignored by Kedro, read by Kedro-Viz.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _check_place(self, path: Path) -> None:
        if path.resolve() != self._filepath.resolve():
            raise DatasetError(f"{path} is not the folder of this dataset, {self._filepath}")
