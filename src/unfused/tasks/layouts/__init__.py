"""Public data sets: how they lie on disk when unpacked, and whether all of one is there.

A layout is one function with the decorator :func:`.layout`, in a file here; adding one needs no
other change. It takes the folder and returns one row per clip with ``path`` (relative to the
folder) and whichever of ``label, split, fold, group, offset, frames`` the data set says.
"""

import importlib
import logging
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ...data.manifest import class_counts
from ...data.table import KNOWN_AS, text_label
from .layout import LAYOUTS, LayoutError

__all__ = ["LayoutError", "available", "missing_tasks", "read_layout", "warn_of_counts"]
log = logging.getLogger(__name__)


def available() -> list[str]:
    """Return the names of all layouts."""
    for module in pkgutil.iter_modules(__path__, __name__ + "."):
        importlib.import_module(module.name)
    return sorted(LAYOUTS)


def read_layout(name: str, folder: str | Path, **options: Any) -> pd.DataFrame:
    """List the clips of a data set, one of :func:`available`, as unpacked in a folder.

    Options are the layout's, such as which labels. Columns are ``path`` (relative to ``folder``)
    and some of label, split, fold, group, offset, frames, all str, "" where unknown.

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


def warn_of_counts(
    usable: pd.DataFrame, unusable: pd.DataFrame, *, clips: int | None, classes: int | None
) -> list[str]:
    """Return warnings, logged too, of what differs from what the makers of a data set say.

    Given are its manifest, its rejected clips, and how many clips and classes they count, if known.
    """
    corpus, n_clips = usable["corpus"].iloc[0], len(usable) + len(unusable)
    found = [("clips", n_clips, clips), ("classes", len(class_counts(usable)), classes)]
    warnings = [
        f"{corpus}: {number:,} {name}, where its makers count {expected:,}: is the download whole?"
        for name, number, expected in found
        if expected not in (None, number)
    ]
    if len(unusable):
        warnings.append(f"{corpus}: {len(unusable):,} of its clips cannot be used")
    for warning in warnings:
        log.warning("%s", warning)
    return warnings


def missing_tasks(tasks: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the data sets that are configured, with a ``card``, and not there, one a row."""
    rows = [
        {"task": name, "put_it_in": entry.get("audio"), **entry, **entry["card"]}
        for name, entry in tasks.items()
        if entry.get("card") and not Path(str(entry.get("audio"))).expanduser().is_dir()
    ]
    columns = ["task", "title", "put_it_in", "get", "licence", "clips", "classes"]
    return pd.DataFrame(rows, columns=columns)
