"""How data sets lie on disk when they are unpacked: one short function for each layout.

A layout takes the folder and returns one row per clip with ``path`` (relative to the folder) and
whichever of ``label, split, fold, group, offset, frames`` the data set says. Adding one is a
function here, with the decorator; it needs no other change.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pandas as pd

from ...data.table import KNOWN_AS, text_label
from .layout import LAYOUTS, LayoutError

__all__ = ["LayoutError", "available", "read_layout"]


def available() -> list[str]:
    """Return the names of all layouts."""
    for module in pkgutil.iter_modules(__path__, __name__ + "."):
        importlib.import_module(module.name)
    return sorted(LAYOUTS)


def read_layout(name: str, folder: str | Path, **options: Any) -> pd.DataFrame:
    """List a data set's clips.

    Args:
        name: One of :func:`available`.
        folder: Where the data set was unpacked.
        **options: Options of the layout, such as which labels.

    Returns:
        ``path`` (relative to ``folder``) and some of label, split, fold, group, offset, frames,
        all str, "" where unknown.

    Raises:
        LayoutError: No layout has this name, or a file that it needs is missing or malformed.
    """
    if name not in available():
        raise LayoutError(f"layout={name!r} is unknown: choose from {available()}")
    folder = Path(folder)
    if not folder.is_dir():
        raise LayoutError(f"{folder} is no folder: unpack the data set there, or set audio to it")
    table = LAYOUTS[name](folder, **options)
    if table.empty:
        raise LayoutError(f"{folder} holds none of the files of a {name} data set")
    given = [column for column in KNOWN_AS if column in table and column != "path"]
    labels = table[given].map(text_label)
    return pd.concat([table["path"], labels], axis=1).reset_index(drop=True)
