"""Files that are there whole or not at all: tables, texts and figures of ``kedro_datasets``."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from kedro_datasets.json import JSONDataset
from kedro_datasets.matplotlib import MatplotlibDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from kedro_datasets.text import TextDataset

from .previews import described, inert, picture_html, verbatim

_LONGEST = 60  # characters of a cell
_CELL = "style='padding: 2px 12px 2px 0; text-align: left; white-space: nowrap'"
_LARGEST = 2_000_000  # characters of a page that a preview shows


class WholeFile:
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


class ParquetTableDataset(WholeFile, ParquetDataset):
    """A Parquet file; cells may hold lists."""

    @described
    def preview(self, nrows: int = 20) -> str:
        """Return the first rows."""
        return first_rows(self.load(), nrows)


class CSVTableDataset(WholeFile, CSVDataset):
    """A CSV file without an index column."""

    @described
    def preview(self, nrows: int = 50) -> str:
        """Return the first rows."""
        return first_rows(self.load(), nrows)


class FigureDataset(WholeFile, MatplotlibDataset):
    """Saves a :class:`matplotlib.figure.Figure`, loads the PNG's bytes."""

    @described
    def preview(self) -> str:
        """Return the picture."""
        return picture_html(self.load())

    def load(self) -> bytes:
        """Return the PNG file."""
        return self.filepath.read_bytes()


class PlainTextDataset(WholeFile, TextDataset):
    """A text file in Markdown, LaTeX or CSV."""

    @described
    def preview(self, characters: int = 5000) -> str:
        """Return the beginning of the text, its lines as they stand in the file."""
        return _block(self.load(), characters)


class PageDataset(WholeFile, TextDataset):
    """A page of HTML, or a piece of one, with pictures and sounds inside."""

    @described
    def preview(self) -> str:
        """Return the page, or where it is if it is large."""
        page = self.load()
        if len(page) > _LARGEST:
            size, place = len(page) / 1e6, verbatim(str(self.filepath))
            return f"<p>A page of {size:.1f} MB: open {place} in a browser.</p>"
        return inert(page)


class JSONTextDataset(WholeFile, JSONDataset):
    """A JSON file."""

    @described
    def preview(self, characters: int = 5000) -> str:
        """Return the beginning of the file, one value a line."""
        return _block(json.dumps(self.load(), indent=1, ensure_ascii=False), characters)


def first_rows(table: pd.DataFrame, nrows: int) -> str:
    """Return how large a table is and its first rows; of a long text, the end tells it apart.

    >>> first_rows(pd.DataFrame({"score": [0.123456], "sizes": [np.arange(3)]}), 0)
    '<p>1 row, 2 columns: score, sizes</p>'
    """
    size = f"{_counted(len(table), 'row')}, {_counted(table.shape[1], 'column')}"
    head = table.head(nrows)
    if not len(head):
        names = verbatim(", ".join(table.columns[:8]))
        return f"<p>{size}: {names}{'…' * (table.shape[1] > 8)}</p>"
    shown = f"; the first {len(head)}:" if len(head) < len(table) else ""
    rows = [[_cell(value) for value in row] for row in head.itertuples(index=False, name=None)]
    lines = [_row("th", list(head)), *(_row("td", row) for row in rows)]
    return f"<p>{size}{shown}</p><table>{''.join(lines)}</table>"


def _block(text: str, characters: int) -> str:
    shown = text if len(text) <= characters else text[:characters] + "\n…"
    return f"<pre style='white-space: pre-wrap'>{verbatim(shown)}</pre>"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _row(tag: str, cells: list[Any]) -> str:
    inside = "".join(f"<{tag} {_CELL}>{verbatim(str(cell))}</{tag}>" for cell in cells)
    return f"<tr>{inside}</tr>"


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple | np.ndarray):
        value = ", ".join(str(_cell(item)) for item in value)
    if pd.isna(value):
        return ""
    if isinstance(value, float | np.floating):
        return float(f"{value:.4g}") if np.isfinite(value) else str(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str) and len(value) > _LONGEST:
        return "…" + value[1 - _LONGEST :]
    return value
