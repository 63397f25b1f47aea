"""Runs with a name: where their results lie, and how one takes over what another has made.

A run without a name writes below the root; a run called ``k50`` below ``<root>/runs/k50``. Finished
pieces of work are the same wherever they were made, so a run borrows those of the others.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

RUNS = "runs"
UNNAMED = "(unnamed)"


def run_folders(root: Path) -> dict[str, Path]:
    """Return the folder of every run that has one, the unnamed one first.

    Args:
        root: The folder that all runs share.
    """
    named = sorted(path for path in (root / RUNS).glob("*") if path.is_dir())
    return {UNNAMED: root, **{path.name: path for path in named}}


def same_folder_of_others(folder: Path, root: Path) -> list[Path]:
    """Return the folders of other runs that correspond to a folder of one run.

    Args:
        folder: Below ``root``, or below ``<root>/runs/<name>``.
        root: The folder that all runs share.

    Raises:
        ValueError: The folder is not below the root.
    """
    inside = folder.relative_to(root)
    if inside.parts[0] == RUNS:
        inside = Path(*inside.parts[2:])
    found = [of_run / inside for of_run in run_folders(root).values()]
    return [other for other in found if other != folder and other.is_dir()]


def take_over(source: Path, target: Path) -> None:
    """Give a folder with files that no longer change a second place.

    Files are linked where the file system can, so they take no more space, else copied. The target
    is there as a whole or not at all.

    Args:
        source: The folder.
        target: Its second place; must not exist.
    """
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        shutil.copytree(source, unfinished, copy_function=_link)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
