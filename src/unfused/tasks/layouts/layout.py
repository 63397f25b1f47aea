"""What layouts share: the registry, and reading the tables that come with data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from ...data.table import ManifestError

Layout = Callable[..., pd.DataFrame]
LAYOUTS: dict[str, Layout] = {}


class LayoutError(ManifestError):
    """A folder is not what the layout says; the message tells what is missing."""


def layout(function: Layout) -> Layout:
    """Register a layout under the function's name."""
    LAYOUTS[function.__name__] = function
    return function


def needed(folder: Path, *names: str) -> Path:
    """Return the first of some files or folders that exists.

    Raises:
        LayoutError: None does.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise LayoutError(f"{folder} has no {' or '.join(names)}: unpack the whole data set there")


def read_csv(path: Path, columns: Iterable[str], **options: Any) -> pd.DataFrame:
    """Read a table as text, and see that it has the columns.

    Raises:
        LayoutError: A column is missing.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False, **options)
    missing = [column for column in columns if column not in table]
    if missing:
        raise LayoutError(f"{path} has no column {missing}; it has {list(table.columns)}")
    return table


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty."""
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def files_below(folder: Path, *suffixes: str) -> list[Path]:
    """Return the files with some suffixes below a folder, relative to it, sorted."""
    found = (file for suffix in suffixes for file in folder.rglob(f"*{suffix}"))
    return sorted(file.relative_to(folder) for file in found)
