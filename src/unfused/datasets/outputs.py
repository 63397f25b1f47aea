"""What nodes leave in folders of their own, as files that say which folders those are.

Such a file is a run's; the folders are all runs'. Paths in it begin where the file is, so that a
project may be moved.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from kedro.io import DatasetError

from ..core import written
from ..core.outputs import write_json
from .files import first_rows
from .folders import FolderDataset
from .previews import described, picture_html, player_html, verbatim


class OutputsDataset(FolderDataset):
    """Folders by name, in a JSON file."""

    def load(self) -> Any:
        """Return name -> folder."""
        written.check(self.filepath)
        listed, base = json.loads(self.filepath.read_text(encoding="utf-8")), self.filepath.parent
        return {name: Path(os.path.normpath(base / folder)) for name, folder in listed.items()}

    def save(self, data: Any) -> None:
        """Write down which folders there are, after seeing that they are."""
        if missing := [str(folder) for folder in data.values() if not Path(folder).is_dir()]:
            raise DatasetError(f"no folders: {', '.join(missing)}")
        base = self.filepath.parent.resolve()
        base.mkdir(parents=True, exist_ok=True)
        listed = {name: os.path.relpath(folder, base) for name, folder in data.items()}
        write_json(self.filepath, listed)
        written.note(self.filepath)

    @described
    def preview(self) -> str:
        """Return the names."""
        return f"<p>In it: {verbatim(', '.join(OutputsDataset.load(self)))}.</p>"

    def _exists(self) -> bool:
        found = OutputsDataset.load(self) if self.filepath.is_file() else {"": self.filepath}
        return all(folder.is_dir() for folder in found.values())


class AudioFolderDataset(OutputsDataset):
    """One folder of audio files; its preview plays a few of them."""

    def load(self) -> Any:
        """Return the folder."""
        return super().load()["folder"]

    def save(self, data: Any) -> None:
        """Write down which folder it is."""
        super().save({"folder": data})

    @described
    def preview(self, n_clips: int = 6) -> str:
        """Return players for clips spread evenly over the folder."""
        files = sorted(self.load().rglob("*.flac"))
        chosen = files[:: max(1, len(files) // n_clips)][:n_clips]
        return "".join(f"<p>{verbatim(file.name)}<br>{player_html(file)}</p>" for file in chosen)


class LogMelStoreDataset(AudioFolderDataset):
    """A :class:`~unfused.data.store.LogMelStore`, opened memory-mapped."""

    def load(self) -> Any:
        """Open the store."""
        from ..data.store import LogMelStore

        return LogMelStore.open(super().load())

    def save(self, data: Any) -> None:
        """Write down where the store is."""
        super().save(data.path)

    @described
    def preview(self, n_clips: int = 6) -> str:
        """Return a picture of clips spread evenly over the store."""
        from ..reporting.figures.log_mels import log_mels

        store = self.load()
        rows = np.linspace(0, len(store) - 1, min(n_clips, len(store))).astype(int)
        clips = {f"clip {row + 1:,} of {len(store):,}": store.clip(row) for row in rows}
        seconds_per_frame = store.front_end.hop / store.front_end.sample_rate
        return picture_html(log_mels(clips, hop_seconds=seconds_per_frame))


class EncodersDataset(OutputsDataset):
    """Trained encoders, an :class:`~unfused.encoders.trained.EncoderCollection`."""

    def load(self) -> Any:
        """Return the collection."""
        from ..encoders.trained import EncoderCollection

        return EncoderCollection(super().load())

    def save(self, data: Any) -> None:
        """Write down which encoder lies where."""
        super().save({name: data.folder(name) for name in data.names()})

    @described
    def preview(self, nrows: int = 50) -> str:
        """Return one row per encoder."""
        rows = []
        for name in (found := self.load()).names()[:nrows]:
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

        written.check(self.filepath)
        base, found = self.filepath.parent, json.loads(self.filepath.read_text(encoding="utf-8"))
        for entry in found:
            entry["folder"] = entry["folder"] and os.path.normpath(base / entry["folder"])
        return [Candidate(**entry) for entry in found]

    def save(self, data: Any) -> None:
        """Write them down."""
        base, listed = self.filepath.parent.resolve(), [asdict(entry) for entry in data]
        base.mkdir(parents=True, exist_ok=True)
        for entry in listed:
            entry["folder"] = entry["folder"] and os.path.relpath(entry["folder"], base)
        write_json(self.filepath, listed)
        written.note(self.filepath)

    @described
    def preview(self, nrows: int = 50) -> str:
        """Return one row per candidate."""
        shown = ["label", "source", "seed", "fold", "read_out", "pretraining_clips"]
        return first_rows(pd.DataFrame(map(asdict, self.load()))[shown], nrows)

    def _exists(self) -> bool:
        return self.filepath.is_file()
