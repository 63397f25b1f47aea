"""Datasets that are folders of files: corpora, models, and what earlier runs have left."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError

from ..core import written
from ..core.errors import UserError
from ..core.outputs import write_bytes
from ..core.repeats import RUNS
from .files import Described, first_rows, verbatim

log = logging.getLogger(__name__)
RESULTS, PARAMETERS = "07_model_output/results.parquet", "08_reporting/parameters.json"


class FolderDataset(Described, AbstractDataset[Any, Any]):
    """A folder, of which a node's is a copy; its metadata are Kedro-Viz's."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self.filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        """Return the folder."""
        return self.filepath

    def save(self, data: Any) -> None:
        """Put a copy of a folder in the place of what was there, when it is whole."""
        aside = self.filepath.with_name(f".{self.filepath.name}.unfinished")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(data, aside)
        shutil.rmtree(self.filepath, ignore_errors=True)
        aside.rename(self.filepath)

    def _shown(self) -> str:
        names = sorted(path.name for path in self.filepath.iterdir())
        return f"<p>In it: {verbatim(', '.join(names[:40]))}.</p>"

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.filepath)}

    def _exists(self) -> bool:
        return self.filepath.is_dir() and any(self.filepath.iterdir())


class TextFilesDataset(FolderDataset):
    """Text files in a folder: their paths without ``.txt`` -> the text."""

    def load(self) -> dict[str, str]:
        """Read them."""
        return {
            file.relative_to(self.filepath).as_posix().removesuffix(".txt"): file.read_text("utf-8")
            for file in sorted(self.filepath.rglob("*.txt"))
        }

    def save(self, data: dict[str, str]) -> None:
        """Write them in the place of those that were there; no folder if there are none."""
        shutil.rmtree(self.filepath, ignore_errors=True)
        for name, text in data.items():
            file = self.filepath / f"{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(file, text.encode())


class ModelDataset(FolderDataset):
    """A :class:`~unfused.inference.classifier.Classifier`, shown by its facts."""

    def load(self) -> Any:
        """Return the classifier."""
        from ..inference import load_classifier

        return load_classifier(self.filepath, trust_code=True)  # the configuration named it

    def _shown(self) -> str:
        classifier = self.load()
        facts = {"classes": list(classifier.classes_), **classifier.facts_}
        shown = {key: value for key, value in facts.items() if not isinstance(value, dict)}
        return first_rows(pd.DataFrame({"": list(shown), "value": list(shown.values())}), 50)


class CorpusDataset(FolderDataset):
    """A :class:`~unfused.tasks.corpus.Corpus`: its clips and parts; its log-mels stay elsewhere."""

    def load(self) -> Any:
        """Return the corpus."""
        from ..tasks.corpus import RECORD, Corpus

        written.check(self.filepath / RECORD)
        return Corpus.load(self.filepath)

    def save(self, data: Any) -> None:
        """Write clips and parts, and where the log-mels are."""
        from ..tasks.corpus import RECORD

        data.save(self.filepath)
        written.note(self.filepath / RECORD)

    def _shown(self, nrows: int = 20) -> str:
        corpus = self.load()
        return f"<p>{verbatim(repr(corpus))}</p>{first_rows(corpus.clips, nrows)}"


class RunFilesDataset(FolderDataset):
    """Result rows and parameters of every finished run: name -> (table, parameters)."""

    def load(self) -> dict[str, Any]:
        """Read the runs that have come to their report; name the others.

        Raises:
            UserError: There is no finished run.
        """
        folders = self._runs()
        done = {name: path for name, path in folders.items() if _finished(path)}
        if unfinished := [name for name in folders if name not in done]:
            log.warning("not compared, because they have no report yet: %s", ", ".join(unfinished))
        if not done:
            raise UserError(
                f"no run below {self.filepath} has results: kedro run --pipelines=unfused --params "
                "run_name=<name> makes one"
            )
        return {name: _read(path) for name, path in done.items()}

    def save(self, data: None) -> None:
        """Refuse: runs write their own files."""
        raise DatasetError("the files of runs are written by the runs themselves")

    def _shown(self) -> str:
        return f"<p>Runs: {verbatim(', '.join(self._runs()))}.</p>"

    def _exists(self) -> bool:
        return True  # loading says what is missing

    def _runs(self) -> dict[str, Path]:
        """Return name -> folder of every run that has begun to write results."""
        found = {path.name: path for path in sorted((self.filepath / RUNS).glob("*"))}
        every = {"(no name)": self.filepath, **found}
        return {name: path for name, path in every.items() if (path / "07_model_output").is_dir()}


def _finished(folder: Path) -> bool:
    """Return whether there are results, and the parameters that were written after them."""
    results, parameters = folder / RESULTS, folder / PARAMETERS
    both = results.is_file() and parameters.is_file()
    return both and results.stat().st_mtime_ns <= parameters.stat().st_mtime_ns


def _read(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    written.check(folder / RESULTS)
    written.check(folder / PARAMETERS)
    parameters = json.loads((folder / PARAMETERS).read_text(encoding="utf-8"))
    return pd.read_parquet(folder / RESULTS), parameters
