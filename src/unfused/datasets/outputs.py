"""What nodes leave in folders of their own, as files that say which folders those are.

Such a file is a run's; the folders are all runs'. Paths in it begin where the file is, so that a
project may be moved.
"""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from kedro.io import DatasetError

from ..core import written
from ..core.errors import UserError
from ..core.outputs import write_json
from .files import first_rows, picture_html, player_html, verbatim
from .folders import FolderDataset


class OutputsDataset(FolderDataset):
    """Folders by name, in a JSON file."""

    def load(self) -> Any:
        """Return name -> folder."""
        return {name: Path(self._absolute(folder)) for name, folder in self._read().items()}

    def save(self, data: Any) -> None:
        """Write down which folders there are, after seeing that they are."""
        self._check(data.values())
        self._write({name: self._relative(folder) for name, folder in data.items()})

    def _shown(self) -> str:
        return f"<p>In it: {verbatim(', '.join(self._read()))}.</p>"

    def _exists(self) -> bool:
        found = OutputsDataset.load(self) if self.filepath.is_file() else {"": self.filepath}
        return all(folder.is_dir() for folder in found.values())

    @staticmethod
    def _check(folders: Iterable[str | Path]) -> None:
        if missing := [str(folder) for folder in folders if not Path(folder).is_dir()]:
            raise DatasetError(f"no folders: {', '.join(missing)}")

    def _absolute(self, folder: str) -> str:
        return os.path.normpath(self.filepath.parent / folder)

    def _relative(self, folder: str | Path) -> str:
        return os.path.relpath(folder, self.filepath.parent)

    def _read(self) -> Any:
        written.check(self.filepath)
        return json.loads(self.filepath.read_text(encoding="utf-8"))

    def _write(self, listed: Any) -> None:
        self.filepath.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.filepath, listed)
        written.note(self.filepath)


class AudioFolderDataset(OutputsDataset):
    """One folder of audio files; its preview plays a few of them, spread evenly over it."""

    def load(self) -> Any:
        """Return the folder."""
        return super().load()["folder"]

    def save(self, data: Any) -> None:
        """Write down which folder it is."""
        super().save({"folder": data})

    def _shown(self, n_clips: int = 6) -> str:
        files = sorted(self.load().rglob("*.flac"))
        chosen = files[:: max(1, len(files) // n_clips)][:n_clips]
        return "".join(f"<p>{verbatim(file.name)}<br>{player_html(file)}</p>" for file in chosen)


class LogMelStoreDataset(AudioFolderDataset):
    """A :class:`~unfused.data.store.LogMelStore`; its preview has a picture of a few clips."""

    def load(self) -> Any:
        """Open the store, memory-mapped."""
        from ..data.store import LogMelStore

        return LogMelStore.open(super().load())

    def save(self, data: Any) -> None:
        """Write down where the store is."""
        super().save(data.path)

    def _shown(self, n_clips: int = 6) -> str:
        from ..reporting.figures.log_mels import log_mels

        store = self.load()
        rows = np.linspace(0, len(store) - 1, min(n_clips, len(store))).astype(int)
        clips = {f"clip {row + 1:,} of {len(store):,}": store.clip(row) for row in rows}
        seconds_per_frame = store.front_end.hop / store.front_end.sample_rate
        return picture_html(log_mels(clips, hop_seconds=seconds_per_frame))


class EncodersDataset(OutputsDataset):
    """Trained encoders, an :class:`~unfused.encoders.trained.EncoderCollection`, one in a row."""

    def load(self) -> Any:
        """Return the collection."""
        from ..encoders.trained import EncoderCollection

        return EncoderCollection(super().load())

    def save(self, data: Any) -> None:
        """Write down which encoder lies where."""
        super().save({name: data.folder(name) for name in data.names()})

    def _shown(self, nrows: int = 50) -> str:
        found, rows = self.load(), []
        for name in found.names()[:nrows]:
            trained = found.load(name)
            facts = {key: trained.provenance.get(key, "") for key in ("method", "source", "seed")}
            size = {"dimension": trained.encoder.dim, "parameters": trained.encoder.n_parameters}
            rows.append({"name": name, **facts, "architecture": trained.name, **size})
        return first_rows(pd.DataFrame(rows), nrows)


class CandidatesDataset(OutputsDataset):
    """Encoders that are compared, as a list of :class:`~unfused.probes.candidates.Candidate`."""

    def load(self) -> Any:
        """Return the candidates."""
        from ..probes.candidates import Candidate

        try:
            return [Candidate(**_placed(entry, self._absolute)) for entry in self._read()]
        except (KeyError, TypeError) as error:
            raise UserError(f"{self.filepath} is of an older version: evaluate again") from error

    def save(self, data: Any) -> None:
        """Write them down."""
        self._check([entry.vectors for entry in data if entry.vectors])
        self._write([_placed(asdict(entry), self._relative) for entry in data])

    def _shown(self, nrows: int = 50) -> str:
        shown = ["label", "source", "seed", "fold", "read_out", "pretraining_clips"]
        return first_rows(pd.DataFrame(map(asdict, self.load()))[shown], nrows)

    def _exists(self) -> bool:
        if not self.filepath.is_file():
            return False
        return all(Path(entry.vectors).is_dir() for entry in self.load() if entry.vectors)


def _placed(entry: dict[str, Any], path: Callable[[str], str]) -> dict[str, Any]:
    """Return a candidate's fields with its folders as ``path`` makes them."""
    return {**entry, **{at: path(entry[at]) for at in ("folder", "vectors") if entry[at]}}
