"""Stored classifiers: a folder with one, and a note of which one was chosen last."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import TablePreview

from ..workspace import write_json
from .previews import once_made
from .tables import preview_of


class _ClassifierDataset(AbstractDataset[Any, Any]):
    """Saves the path of a classifier's folder, loads the classifier in it.

    Args:
        filepath: A folder, or a file.
        metadata: Ignored by Kedro, read by Kedro-Viz.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}

    @once_made
    def preview(self) -> TablePreview:
        """Return what the classifier is, one fact in a row."""
        classifier = self.load()
        facts = {"classes": classifier.classes, **classifier.provenance}
        shown = {key: value for key, value in facts.items() if not isinstance(value, dict)}
        return preview_of(pd.DataFrame({"": list(shown), "value": list(shown.values())}), 50)

    def load(self) -> Any:
        """Return the classifier."""
        from ..inference import load_classifier

        return load_classifier(self._folder())

    def _folder(self) -> Path:
        return self._filepath


class ClassifierFolderDataset(_ClassifierDataset):
    """A folder with one classifier; saving it checks that it stands there, whole."""

    def save(self, data: Path) -> None:
        """Check the folder."""
        if data.resolve() != self._filepath.resolve():
            raise DatasetError(f"{data} is not the folder of this dataset, {self._filepath}")
        self.load()

    def _exists(self) -> bool:
        return (self._filepath / "head.json").is_file()


class ChosenClassifierDataset(_ClassifierDataset):
    """A file that says in which folder the classifier is, relative to itself where it is below."""

    def save(self, data: Path) -> None:
        """Note the folder, after seeing that it holds a classifier."""
        from ..inference import load_classifier

        load_classifier(data)
        base, folder = self._filepath.parent.resolve(), data.resolve()
        below = folder.is_relative_to(base)
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        noted = folder.relative_to(base).as_posix() if below else os.fspath(folder)
        write_json(self._filepath, {"folder": noted})

    def _exists(self) -> bool:
        return self._filepath.is_file() and (self._folder() / "head.json").is_file()

    def _folder(self) -> Path:
        noted = json.loads(self._filepath.read_text(encoding="utf-8"))["folder"]
        return self._filepath.parent / noted
