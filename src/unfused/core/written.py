"""What the files of a run were when they were written, so that no other file passes for one.

``written.json`` in a run's folder has size and digest of each. A run takes its files out of it
before it begins, and puts each back when it is whole.
"""

from collections.abc import Callable, Iterable, Set
from functools import partial
from pathlib import Path
from typing import Any

from .errors import STOPPING, UserError
from .locks import locked
from .outputs import file_damage, file_facts, read_sealed, shown, write_sealed

RECORD = "written.json"


def begin(folder: Path, files: Iterable[Path]) -> None:
    """Declare that files of a run are going to be written, and sweep what a killed run left."""
    gone: dict[Path, set[str]] = {folder: set()}
    for file in files:
        mine = file.absolute().is_relative_to(folder.absolute())  # else of all runs, or named
        if (of := folder if mine else _run_of(file)) is not None:
            gone.setdefault(of, set()).add(_name(of, file))
        for left in file.parent.glob(f".{file.name}.*.tmp"):
            left.unlink(missing_ok=True)
    for of, names in gone.items():
        _change(of, partial(_without, names))


def note(file: Path) -> None:
    """Note what a file is that is whole now; of a folder without a record, nothing."""
    if STOPPING.is_set():
        raise KeyboardInterrupt
    if (folder := _run_of(file)) is not None:
        _change(folder, lambda known: {**known, _name(folder, file): file_facts(file)})


def check(file: Path) -> None:
    """See that a file is what was written; of a folder without a record, anything is.

    Raises:
        UserError: It is damaged or of another run, or the run that writes it did not come so far.
    """
    if file.is_dir() or (folder := _run_of(file)) is None:
        return  # folders have records of their own
    wrong, known = "", read_sealed(folder / RECORD)
    if known is None:
        file, wrong = folder / RECORD, "is not what was written"
    elif facts := known["files"].get(_name(folder, file)):
        wrong = file_damage(file, facts)
    elif file.exists():  # else nothing has been promised
        wrong = "is of a run that was not finished"
    if wrong:
        raise UserError(f"{shown(file)} {wrong}: run again what makes it", remedy="again")


def _run_of(file: Path) -> Path | None:
    """Return the nearest folder above a file that has a record."""
    return next((path for path in file.absolute().parents if (path / RECORD).is_file()), None)


def _name(folder: Path, file: Path) -> str:
    return file.absolute().relative_to(folder.absolute()).as_posix()


def _without(names: Set[str], known: dict[str, Any]) -> dict[str, Any]:
    return {name: facts for name, facts in known.items() if name not in names}


def _change(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    with locked(folder / f".{RECORD}.lock"):
        known = read_sealed(folder / RECORD) or {"files": {}}
        write_sealed(folder / RECORD, {"files": change(known["files"])})
