"""What the runs of a project have left, as one dataset."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import DatasetError

from ..core.runs import run_folders
from .folder import FolderDataset
from .previews import described, verbatim

log = logging.getLogger(__name__)
RESULTS, PARAMETERS = "07_model_output/results.parquet", "08_reporting/parameters.json"


class RunFilesDataset(FolderDataset[Any]):
    """Result rows and parameters of every finished run: name -> (table, parameters)."""

    def load(self) -> dict[str, Any]:
        """Read the runs that have come to their report; name the others.

        Raises:
            DatasetError: There is no finished run.
        """
        folders = run_folders(self._filepath)
        done = {name: path for name, path in folders.items() if _finished(path)}
        started = [name for name, path in folders.items() if (path / "06_models").is_dir()]
        if unfinished := [name for name in started if name not in done]:
            log.warning("not compared, because they have no report yet: %s", ", ".join(unfinished))
        if not done:
            raise DatasetError(
                f"no run below {self._filepath} has results: kedro run --pipeline=unfused --params "
                "run_name=<name> makes one"
            )
        return {name: _read(path) for name, path in done.items()}

    def save(self, data: None) -> None:
        """Refuse: runs write their own files."""
        raise DatasetError("the files of runs are written by the runs themselves")

    @described
    def preview(self) -> str:
        """Return the names of the runs."""
        names = ", ".join(run_folders(self._filepath))
        return f"<p>Runs: {verbatim(names)}.</p>"

    def _exists(self) -> bool:
        return any(_finished(path) for path in run_folders(self._filepath).values())


def _finished(folder: Path) -> bool:
    """Return whether there are results, and the parameters that were written after them."""
    results, parameters = folder / RESULTS, folder / PARAMETERS
    both = results.is_file() and parameters.is_file()
    return both and results.stat().st_mtime_ns <= parameters.stat().st_mtime_ns


def _read(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    parameters = json.loads((folder / PARAMETERS).read_text(encoding="utf-8"))
    return pd.read_parquet(folder / RESULTS), parameters
