"""Outputs that know what made them: reused while that holds, resumed if unfinished, else built.

An output is a folder ``<name>-<mark>``. The mark stands for everything that decides its content:
settings, inputs, and the source code (:mod:`.source`). So another setting gets another folder, and
going back finds the first one again. Last of all ``made_of.json`` is written, with size and digest
of every file; whoever takes the output checks them, so that nothing unfinished, damaged or foreign
passes for it.
"""

import hashlib
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .errors import STOPPING, UserError
from .locks import locked

log = logging.getLogger(__name__)
RECORD = "made_of.json"
OUTCOMES: Counter[str] = Counter()
"""How many outputs this process has built, reused, resumed and rebuilt."""
_built: set[Path] = set()  # outputs that this process has built
_compared: set[tuple[str, int, int, str]] = set()  # files whose digest it has compared


def mark_of(**made_of: Any) -> str:
    """Return a short hash of anything made of JSON values, arrays, tables, dataclasses and paths.

    >>> mark_of(a=1, b=[2]) == mark_of(b=[2], a=1) != mark_of(a=1, b=[3])
    True
    """
    text = json.dumps(_plain(made_of), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


@dataclass(frozen=True)
class OutputFolder:
    """A folder of outputs, made when the first one is."""

    path: Path
    fresh: bool = False  # build everything again once in this process, whatever stands there

    def built(self, name: str, made_of: Mapping[str, Any], build: Callable[[Path], object]) -> Path:
        """Return the folder of an output, ``<name>-<mark>``, built only if it is not there whole.

        ``made_of`` is everything that its content depends on, by name; ``build`` fills the folder
        that it is given, and may resume what it finds there. What became of it is logged and
        counted in :data:`OUTCOMES`. An OSError if the folder cannot be written.
        """
        mark = mark_of(**made_of)
        path = self.path / f"{name}-{mark}"
        label = f"{self.path.name}/{name}"
        state, _ = self._state(path, mark)
        if state != "reused":
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path.with_name(f".{path.name}.lock"), label):
                state, wrong = self._state(path, mark)  # others may have built it meanwhile
                if state != "reused":
                    if state != "built":
                        log.info("%s %s", state, label)
                    for name, what in wrong.items():
                        log.warning("%s is damaged and is built again: %s %s", label, name, what)
                        (path / name).unlink(missing_ok=True)  # what is whole may be of use
                    if state == "rebuilt" and (not wrong or RECORD in wrong):
                        shutil.rmtree(path)
                    (path / RECORD).unlink(missing_ok=True)
                    path.mkdir(exist_ok=True)
                    build(path)
                    _finish(path, mark, made_of)
                    _built.add(path)
        OUTCOMES[state] += 1
        if state == "reused":
            log.info("reused %s", label)
        return path

    def tables(
        self, name: str, made_of: Mapping[str, Any],
        build: Callable[[Path], Mapping[str, pd.DataFrame]],
    ) -> dict[str, pd.DataFrame]:  # fmt: skip
        """Return an output's tables, as :meth:`built`; ``build`` returns them by name."""

        def write(path: Path) -> None:
            for key, table in build(path).items():
                table.to_parquet(path / f"{key}.parquet")

        path = self.built(name, made_of, write)
        return {file.stem: pd.read_parquet(file) for file in sorted(path.glob("*.parquet"))}

    def _state(self, path: Path, mark: str) -> tuple[str, dict[str, str]]:
        """Return what is going to become of an output, and what is damaged in it."""
        if not path.exists():
            return "built", {}
        if self.fresh and path not in _built:
            return "rebuilt", {}
        if not (path / RECORD).exists():
            return "resumed", {}
        wrong = damage(path / RECORD, mark)
        return "rebuilt" if wrong else "reused", wrong


def check_output(folder: Path) -> None:
    """See that what belongs to a finished output, or to a copy of one, is what was written.

    ``folder`` is the output's, or lies in it; one that has no record may hold anything.

    Raises:
        UserError: It is damaged; the message names the file.
    """
    for path in (folder, folder.absolute().parent):
        if (path / RECORD).is_file():
            for name, what in damage(path / RECORD).items():
                raise UserError(
                    f"{shown(path)} is damaged ({name} {what}): run again what made it, which "
                    "replaces what is damaged, or copy the folder again"
                )
            return


def damage(record: Path, mark: str | None = None) -> dict[str, str]:
    """Return which files of a record are not what was written, and what is wrong with each.

    A record is sealed JSON with ``files``, name in its folder -> :func:`file_facts`. ``mark`` is
    what it must say, if that is known.
    """
    known = read_sealed(record)
    if known is None or mark not in (None, known.get("mark")):
        return {record.name: "is not what was written"}
    files = known["files"].items()
    found = {name: file_damage(record.parent / name, facts) for name, facts in files}
    return {name: what for name, what in found.items() if what}


def file_facts(path: Path) -> list[Any]:
    """Return size in bytes and digest of a file."""
    return [path.stat().st_size, digest_of(path)]


def file_damage(path: Path, facts: Sequence[Any]) -> str:
    """Say what is wrong with a file of which :func:`file_facts` said this; "" if nothing is.

    The digest is compared once in a process, as long as the file does not change.
    """
    size, digest = facts
    if not path.is_file():
        return "is missing"
    found = path.stat()
    if found.st_size != size:
        return f"has {found.st_size} bytes instead of {size}"
    key = (str(path.resolve()), found.st_ino, found.st_mtime_ns, str(digest))
    if key not in _compared:
        if digest_of(path) != digest:
            return "is not what was written"
        _compared.add(key)
    return ""


def digest_of(file: Path) -> str:
    """Return a hash of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=12)).hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that the file is either the old one or the whole new one."""
    write_bytes(path, json.dumps(content, indent=1, sort_keys=True).encode())


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with a seal, the hash of its content."""
    write_json(path, {**content, "seal": mark_of(**content)})


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Return JSON with a seal; None if it is not there, or not what was written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        seal = content.pop("seal")
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return content if seal == mark_of(**content) else None


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is either the old one or the whole new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def shown(path: Path) -> str:
    """Return a path for people: from the working directory, if it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """Give a folder to write into; its files then take the place of those that stood in another.

    The last one is the record, so that who reads the folder checks all of them. Until then the old
    files stay, and files that are none of them stay for good.
    """
    aside = folder / ".unfinished"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    yield aside
    _finish(aside, "", {})
    old, new = (read_sealed(place / RECORD) or {"files": {}} for place in (folder, aside))
    (folder / RECORD).unlink(missing_ok=True)
    for name in old["files"].keys() - new["files"].keys():
        (folder / name).unlink(missing_ok=True)
    for name in (*new["files"], RECORD):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(aside / name, folder / name)
    shutil.rmtree(aside)


def _finish(path: Path, mark: str, made_of: Mapping[str, Any]) -> None:
    """Declare an output whole; after the last file is in place."""
    if STOPPING.is_set():
        raise KeyboardInterrupt
    for left in path.rglob("*.tmp"):  # by a process that was killed
        left.unlink()
    files = {
        file.relative_to(path).as_posix(): file_facts(file)
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != RECORD
    }
    write_sealed(path / RECORD, {"mark": mark, "made_of": _short(made_of), "files": files})


def _short(made_of: Mapping[str, Any]) -> dict[str, Any]:
    """Return what made an output for people to read: long values as their hash."""
    plain = {name: _plain(value) for name, value in made_of.items()}
    return {
        name: value if len(json.dumps(value)) < 2000 else f"hash {mark_of(value=value)}"
        for name, value in plain.items()
    }


def _plain(value: Any) -> Any:
    if hasattr(value, "identity"):  # what decides a result, without what only concerns its making
        value = value.identity()
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        value = {item.name: getattr(value, item.name) for item in fields(value)}
    if isinstance(value, pd.DataFrame | pd.Series):
        cells = pd.DataFrame(value)
        cells = cells.apply(lambda column: column.map(_cell) if column.dtype == object else column)
        return hashlib.blake2b(pd.util.hash_pandas_object(cells).to_numpy().tobytes()).hexdigest()
    if isinstance(value, np.ndarray):
        if value.dtype == object or value.dtype.kind in "US":
            return [str(item) for item in value.tolist()]
        return hashlib.blake2b(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


def _cell(value: Any) -> Any:
    """Return a table's cell, arrays (of scores) as what pandas can hash."""
    return value.tobytes() if isinstance(value, np.ndarray) else value
