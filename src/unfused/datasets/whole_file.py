"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any


class WholeFile:
    """Lets a file dataset of Kedro write aside and rename, so that no reader sees half a file.

    It stands before the dataset's own class: ``class Table(WholeFile, ParquetDataset)``. Files on
    other than a local file system are written as Kedro does.
    """

    _filepath: PurePosixPath
    _protocol: str

    def save(self, data: Any) -> None:
        """Write the file; if that fails, the one that was there stays."""
        if self._protocol != "file":
            super().save(data)  # type: ignore[misc]
            return
        target = self._filepath
        aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        self._filepath = aside
        try:
            super().save(data)  # type: ignore[misc]
            os.replace(aside, target)
        finally:
            self._filepath = target
            Path(aside).unlink(missing_ok=True)
