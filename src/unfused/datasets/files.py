"""Files that are there whole or not at all: tables, texts and pictures of ``kedro_datasets``."""

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import pandas as pd
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from kedro_datasets.text import TextDataset

from ..core import written
from .previews import Described, inert, picture_html, verbatim

LARGEST = 2_000_000  # characters of a page that a preview shows


class WholeFile(Described):
    """Lets a file dataset of Kedro write aside and rename, so that no reader sees half a file.

    It stands before the dataset's own class: ``class Table(WholeFile, ParquetDataset)``. Files on
    other than a local file system are written as Kedro does.
    """

    _filepath: PurePosixPath
    _protocol: str

    @property
    def filepath(self) -> Path:
        """The file."""
        return Path(self._filepath)

    def load(self) -> Any:
        """Read the file; refuse it, by UserError, if it is not what was written."""
        written.check(self.filepath)
        return super().load()  # type: ignore[misc]

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
            written.note(Path(target))
        finally:
            self._filepath = target
            Path(aside).unlink(missing_ok=True)


class ParquetTableDataset(WholeFile, ParquetDataset):
    """A Parquet file; cells may hold lists."""

    def _shown(self, nrows: int = 20) -> str:
        return first_rows(self.load(), nrows)


class CSVTableDataset(WholeFile, CSVDataset):
    """A CSV file without an index column."""

    def _shown(self, nrows: int = 50) -> str:
        return first_rows(self.load(), nrows)


class FigureDataset(WholeFile, TextDataset):
    """A drawn figure, the bytes of a PNG."""

    DEFAULT_FS_ARGS: ClassVar = {"open_args_save": {"mode": "wb"}, "open_args_load": {"mode": "rb"}}

    def _shown(self) -> str:
        return picture_html(self.load())


class PlainTextDataset(WholeFile, TextDataset):
    """A text file in Markdown, LaTeX or CSV."""

    def _shown(self, characters: int = 5000) -> str:
        return _beginning(self.load(), characters)


class JSONTextDataset(WholeFile, JSONDataset):
    """A JSON file, shown with one value a line."""

    def _shown(self, characters: int = 5000) -> str:
        return _beginning(json.dumps(self.load(), indent=1, ensure_ascii=False), characters)


class PageDataset(WholeFile, TextDataset):
    """A page of HTML, or a piece of one, with pictures and sounds inside."""

    def _shown(self) -> str:
        page = self.load()
        if len(page) <= LARGEST:
            return inert(page)
        place = verbatim(str(self.filepath))
        return f"<p>A page of {len(page) / 1e6:.1f} MB: open {place} in a browser.</p>"


def first_rows(table: pd.DataFrame, nrows: int) -> str:
    """Return how large a table is, and its first rows; of long texts the end, which differs.

    >>> first_rows(pd.DataFrame({"score": [0.123456]}), 0)
    '<p>1 rows, 1 columns: score</p>'
    """
    names = verbatim(", ".join(map(str, table.columns[:8]))) + "…" * (table.shape[1] > 8)
    size = f"<p>{len(table):,} rows, {table.shape[1]:,} columns: {names}</p>"
    if not min(nrows, len(table)):
        return size
    rows = table.head(nrows).map(
        lambda cell: "…" + cell[-59:] if isinstance(cell, str) and len(cell) > 60 else cell
    )
    return size + inert(
        rows.to_html(index=False, border=0, float_format="{:.4g}".format, na_rep="")
    )


def _beginning(text: str, characters: int) -> str:
    shown = text if len(text) <= characters else text[:characters] + "\n…"
    return f"<pre style='white-space: pre-wrap'>{verbatim(shown)}</pre>"
