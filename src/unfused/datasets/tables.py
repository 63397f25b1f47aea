"""Tables whose previews fit a browser: plain cells, short texts, few digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from kedro_datasets.pandas import CSVDataset, ParquetDataset

from .previews import described, verbatim
from .whole_file import WholeFile

_LONGEST = 60  # characters
_CELL = "style='padding: 2px 12px 2px 0; text-align: left; white-space: nowrap'"


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


def first_rows(table: pd.DataFrame, nrows: int) -> str:
    """Return how large a table is and its first rows; of a long text, the end tells it apart.

    >>> first_rows(pd.DataFrame({"score": [0.123456], "sizes": [np.arange(3)]}), 0)
    '<p>1 row, 2 columns: score, sizes</p>'
    """
    size = f"{_counted(len(table), 'row')}, {_counted(table.shape[1], 'column')}"
    head = table.head(nrows)
    if not len(head):
        return (
            f"<p>{size}: {verbatim(', '.join(table.columns[:8]))}{'…' * (table.shape[1] > 8)}</p>"
        )
    shown = f"; the first {len(head)}:" if len(head) < len(table) else ""
    rows = [[_cell(value) for value in row] for row in head.itertuples(index=False, name=None)]
    lines = [_row("th", list(head)), *(_row("td", row) for row in rows)]
    return f"<p>{size}{shown}</p><table>{''.join(lines)}</table>"


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
