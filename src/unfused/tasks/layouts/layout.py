"""What layouts share: the registry, and reading the tables that come with data sets."""

import re
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


def one_of(name: str, value: object, choices: Iterable[str]) -> str:
    """Return an option's value as text, or raise LayoutError if it is none of the choices."""
    if str(value) not in choices:
        raise LayoutError(f"{name}={value!r} must be one of {sorted(choices)}")
    return str(value)


def needed(folder: Path, *names: str) -> Path:
    """Return the first of some files or folders that exists, or raise LayoutError."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise LayoutError(
        f"{folder} has no {' or '.join(names)}: unpack the whole data set there; data of your own "
        "have no layout: give them a name that no built-in task has, or set layout: null"
    )


def named(folder: Path, pattern: str) -> pd.DataFrame:
    """List the files, hidden ones aside, whose whole path below a folder matches a pattern.

    Columns are ``path``, by which they are sorted, and the pattern's named groups.
    """
    files = (path for path in folder.rglob("*.*") if not path.name.startswith("."))
    below = sorted(path.relative_to(folder).as_posix() for path in files)
    found = [match for path in below if (match := re.fullmatch(pattern, path))]
    columns = ["path", *re.compile(pattern).groupindex]
    return pd.DataFrame([[match[0], *match.groupdict().values()] for match in found], None, columns)


def read_csv(path: Path, columns: Iterable[str], **options: Any) -> pd.DataFrame:
    """Read a table as text, or raise LayoutError if it lacks one of the columns."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False, **options)
    if missing := [column for column in columns if column not in table]:
        raise LayoutError(f"{path} has no column {missing}; it has {list(table.columns)}")
    return table


def read_lists(folder: Path, **parts: str) -> dict[str, str]:
    """Return entry -> part of text files with one entry a line, given as part -> file."""
    return {
        line.strip(): part
        for part, name in parts.items()
        for line in needed(folder, name).read_text("utf-8").splitlines()
        if line
    }
