"""Stored classifiers: a folder with one, and a note of which one was chosen last."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.workspace import write_json
from .folder import FolderDataset
from .previews import described
from .tables import first_rows


class _ClassifierDataset(FolderDataset[Any]):
    """Saves the path of a classifier's folder, loads the classifier in it."""

    @described
    def preview(self) -> str:
        """Return what the classifier is, one fact in a row."""
        classifier = self.load()
        facts = {"classes": classifier.classes, **classifier.provenance}
        shown = {key: value for key, value in facts.items() if not isinstance(value, dict)}
        return first_rows(pd.DataFrame({"": list(shown), "value": list(shown.values())}), 50)

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
        self._check_place(data)
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
