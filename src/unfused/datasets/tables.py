"""Tables whose previews fit a browser: plain cells, short texts, few digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from kedro_datasets._typing import TablePreview
from kedro_datasets.pandas import CSVDataset, ParquetDataset

from .previews import once_made
from .whole_file import WholeFile

_LONGEST = 60  # characters


class ParquetTableDataset(WholeFile, ParquetDataset):
    """A Parquet file; cells may hold lists."""

    @once_made
    def preview(self, nrows: int = 20) -> TablePreview:
        """Return the first rows."""
        return preview_of(self.load(), nrows)


class CSVTableDataset(WholeFile, CSVDataset):
    """A CSV file without an index column."""

    @once_made
    def preview(self, nrows: int = 50) -> TablePreview:
        """Return the first rows."""
        return preview_of(self.load(), nrows)


def preview_of(table: pd.DataFrame, nrows: int) -> TablePreview:
    """Return the first rows as JSON values; the end of a long text is what tells it apart.

    >>> preview_of(pd.DataFrame({"score": [0.123456], "sizes": [np.arange(3)]}), 1)
    {'index': [0], 'columns': ['score', 'sizes'], 'data': [[0.1235, '0, 1, 2']]}
    """
    head = table.head(nrows)
    rows = [[_cell(value) for value in row] for row in head.itertuples(index=False, name=None)]
    return TablePreview({"index": list(range(len(head))), "columns": list(head), "data": rows})


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
