"""Folders of expensive results: reused if nothing changed, resumed if unfinished, else rebuilt.

A :class:`Workspace` is a folder; each finished result in it is a :class:`Piece`, a sub-folder with
a ``fingerprint.json``. The marker is written last, so a half-written piece never passes for a whole
one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .runs import take_over

log = logging.getLogger(__name__)
FORMAT_VERSION = 1
_STARTED, _FINISHED = "started.json", "fingerprint.json"
KEPT = "kept"


def fingerprint(*parts: Any) -> str:
    """Return a short hash of anything made of JSON values, arrays, tables, dataclasses and paths.

    >>> fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    True
    """
    digest = hashlib.blake2b(str(FORMAT_VERSION).encode(), digest_size=12)
    for part in parts:
        digest.update(json.dumps(_plain(part), sort_keys=True).encode())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if hasattr(value, "identity"):  # what decides a result, without what only concerns its making
        value = value.identity()
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        value = {item.name: getattr(value, item.name) for item in fields(value)}
    if isinstance(value, pd.DataFrame | pd.Series):
        return hashlib.blake2b(pd.util.hash_pandas_object(value).to_numpy().tobytes()).hexdigest()
    if isinstance(value, np.ndarray):
        if value.dtype == object or value.dtype.kind in "US":
            return [str(item) for item in value.tolist()]
        return hashlib.blake2b(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


def shown(path: Path) -> str:
    """Return a path for people: from the working directory, if it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that the file is either the old one or the whole new one."""
    write_bytes(path, json.dumps(content, indent=1, sort_keys=True).encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is either the old one or the whole new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


class Piece:
    """One result in a workspace: a folder, and whether what is in it is finished."""

    def __init__(self, path: Path, mark: str) -> None:
        self.path = path
        self.mark = mark

    @property
    def finished(self) -> bool:
        """Whether the whole result stands in :attr:`path`, made with this fingerprint."""
        return _read_mark(self.path / _FINISHED) == self.mark

    def finish(self) -> None:
        """Declare the result whole; call it after the last file is in place."""
        write_json(self.path / _FINISHED, {"fingerprint": self.mark})
        (self.path / _STARTED).unlink(missing_ok=True)


class Workspace:
    """A folder of finished or unfinished pieces.

    Args:
        path: The folder; made when the first piece is.
        lenders: The same folder of other runs, whose finished pieces are taken over where they fit.
    """

    def __init__(self, path: str | Path, lenders: Sequence[Path] = ()) -> None:
        self.path = Path(path)
        self.lenders = lenders

    def piece(self, name: str, mark: str, *, fresh: bool = False) -> Piece:
        """Return the piece ``name``; one made from something else is set aside, not deleted.

        A piece that no longer fits is moved to ``kept/<name>-<its fingerprint>`` and comes back
        when it fits again: going to and fro between two data sets trains nothing twice.

        Args:
            name: Name of the sub-folder.
            mark: :func:`fingerprint` of everything the result depends on.
            fresh: Start again even if a finished piece with this fingerprint stands there.

        Returns:
            A finished piece (reuse it), an unfinished one with this fingerprint (resume it), or an
            empty one.

        What became of it is logged, and is the log record's attribute ``outcome``.

        Raises:
            OSError: The folder cannot be written.
        """
        piece = Piece(self.path / name, mark)
        label = f"{self.path.name}/{name}"
        if piece.finished and not fresh:
            log.info("reused %s", label, extra={"outcome": "reused"})
            return piece
        if not fresh and _read_mark(piece.path / _STARTED) == mark:
            log.info("resuming %s", label, extra={"outcome": "resumed"})
            return piece
        kept = self._kept(name, mark)
        comes_back = kept.is_dir() and not fresh
        self._set_aside(piece, label, fresh, outcome=None if comes_back else "rebuilt")
        if comes_back:
            kept.rename(piece.path)
            how, outcome = ("reused",) * 2 if piece.finished else ("resuming", "resumed")
            log.info("%s %s, which had been set aside", how, label, extra={"outcome": outcome})
            return piece
        if not fresh and self._borrowed(piece, label):
            return piece
        piece.path.mkdir(parents=True)
        write_json(piece.path / _STARTED, {"fingerprint": mark})
        return piece

    def _kept(self, name: str, mark: str) -> Path:
        return self.path / KEPT / f"{name}-{mark}"

    def _borrowed(self, piece: Piece, label: str) -> bool:
        """Take over a finished piece of another run, if one has it."""
        name = piece.path.name
        for lender in self.lenders:
            for place in (lender / name, lender / KEPT / f"{name}-{piece.mark}"):
                if Piece(place, piece.mark).finished:
                    self.path.mkdir(parents=True, exist_ok=True)
                    try:
                        take_over(place, piece.path)
                    except OSError as error:  # the other run has moved it meanwhile
                        log.warning("%s of another run could not be taken over: %s", label, error)
                        continue
                    log.info(
                        "reused %s, which another run had made in %s", label, shown(place),
                        extra={"outcome": "reused"},
                    )  # fmt: skip
                    return True
        return False

    def _set_aside(self, piece: Piece, label: str, delete: bool, outcome: str | None) -> None:
        """Clear the place of a piece."""
        if not piece.path.exists():
            return
        old = _read_mark(piece.path / _FINISHED) or _read_mark(piece.path / _STARTED)
        why = "fresh=true" if delete else "its inputs changed"
        level = logging.DEBUG if outcome is None else logging.INFO  # None: another one comes back
        if old is None or delete or self._kept(piece.path.name, old).exists():
            log.log(level, "rebuilding %s: %s", label, why, extra={"outcome": outcome})
            shutil.rmtree(piece.path)
            return
        kept = self._kept(piece.path.name, old)
        kept.parent.mkdir(exist_ok=True)
        piece.path.rename(kept)
        log.log(
            level, "rebuilding %s: %s; the old one is kept in %s", label, why, shown(kept),
            extra={"outcome": outcome},
        )  # fmt: skip

    def tables(
        self,
        name: str,
        mark: str,
        build: Callable[[Path], Mapping[str, pd.DataFrame]],
        *,
        fresh: bool = False,
    ) -> dict[str, pd.DataFrame]:
        """Return the tables of the piece ``name``, built only if they do not stand there.

        Args:
            name: Name of the sub-folder.
            mark: :func:`fingerprint` of everything the tables depend on.
            build: Makes the tables; may keep unfinished work in the folder it is given.
            fresh: Build again whatever stands there.
        """
        piece = self.piece(name, mark, fresh=fresh)
        if not piece.finished:
            for key, table in build(piece.path).items():
                table.to_parquet(piece.path / f"{key}.parquet")
            piece.finish()
        return {file.stem: pd.read_parquet(file) for file in sorted(piece.path.glob("*.parquet"))}


def _read_mark(path: Path) -> str | None:
    try:
        mark = json.loads(path.read_text(encoding="utf-8")).get("fingerprint")
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return str(mark)
