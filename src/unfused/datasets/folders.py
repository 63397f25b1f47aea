"""Datasets that are folders which a node fills itself, piece by piece, so that work can resume.

Such a node takes the folder as a *workspace* and returns a handle on what it left there; saving the
handle checks that it is the folder the catalog names and that what it holds is whole.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from kedro.io import DatasetError

from ..core.runs import same_folder_of_others
from ..core.workspace import Workspace, write_json
from .folder import FolderDataset
from .previews import described, picture_html, player_html, verbatim
from .tables import first_rows


class WorkspaceDataset(FolderDataset[Workspace]):
    """The folder in which a node leaves pieces of work; it may not exist yet.

    Args:
        filepath: The folder.
        lenders: ``path`` of the folder that holds all runs, to take over finished pieces of theirs;
            None: take over nothing.
        metadata: Ignored by Kedro, read by Kedro-Viz.
    """

    def __init__(
        self,
        *,
        filepath: str,
        lenders: dict[str, str] | None = None,  # Kedro makes what is called `path` absolute
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._runs = Path(lenders["path"]) if lenders else None

    def load(self) -> Workspace:
        """Return a handle on the folder."""
        others = same_folder_of_others(self._filepath, self._runs) if self._runs else []
        return Workspace(self._filepath, others)

    def save(self, data: Workspace) -> None:
        """Refuse: a workspace is filled by the node that was given it."""
        raise DatasetError("a workspace is an input; save the dataset that stands for its content")

    @described
    def preview(self) -> str:
        """Return the names of what is in the folder."""
        names = sorted(path.name for path in self._filepath.iterdir() if path.is_dir())
        return f"<p>In it: {verbatim(', '.join(names[:40]) or 'files only')}.</p>"


class LogMelStoreDataset(FolderDataset[Any]):
    """A finished :class:`~unfused.data.store.LogMelStore`, opened memory-mapped."""

    def load(self) -> Any:
        """Open the store."""
        from ..data.store import LogMelStore

        return LogMelStore.open(self._filepath)

    def save(self, data: Any) -> None:
        """Check that the store stands, whole, in this dataset's folder."""
        self._check_place(data.path)
        self.load()

    @described
    def preview(self, n_clips: int = 6) -> str:
        """Return a picture of clips spread evenly over the store."""
        from ..reporting.figures import log_mels

        store = self.load()
        rows = np.linspace(0, len(store) - 1, min(n_clips, len(store))).astype(int)
        clips = {f"clip {row + 1:,} of {len(store):,}": store.clip(row) for row in rows}
        seconds_per_frame = store.front_end.hop / store.front_end.sample_rate
        return picture_html(log_mels(clips, hop_seconds=seconds_per_frame))


class EncodersDataset(FolderDataset[Any]):
    """An :class:`~unfused.encoders.collection.EncoderCollection`, as ``collection.json``."""

    def load(self) -> Any:
        """Return the collection."""
        from ..encoders.collection import EncoderCollection

        listed = json.loads((self._filepath / "collection.json").read_text(encoding="utf-8"))
        return EncoderCollection.from_json(listed, self._filepath)

    def save(self, data: Any) -> None:
        """Write which encoder lies where, below this folder or elsewhere."""
        if not data.names():
            raise DatasetError("a collection of encoders needs at least one")
        self._filepath.mkdir(parents=True, exist_ok=True)
        write_json(self._filepath / "collection.json", data.to_json(self._filepath))

    @described
    def preview(self, nrows: int = 50) -> str:
        """Return one row per encoder."""
        collection = self.load()
        rows = [_encoder_row(name, collection.load(name)) for name in collection.names()[:nrows]]
        return first_rows(pd.DataFrame(rows), nrows)

    def _exists(self) -> bool:
        return (self._filepath / "collection.json").is_file()


class EmbeddingsDataset(FolderDataset[Any]):
    """Embeddings of a task's clips by every encoder that is compared on it."""

    def load(self) -> Any:
        """Return the collection."""
        from ..probes.embedding_cache import EmbeddingCollection

        return EmbeddingCollection(self._filepath, _listed(self._filepath))

    def save(self, data: Any) -> None:
        """Check that the collection stands in this dataset's folder; note what belongs to it."""
        self._check_place(data.path)
        write_json(self._filepath / "collection.json", data.folders)

    @described
    def preview(self) -> str:
        """Return whose embeddings there are."""
        names = ", ".join(_listed(self._filepath) or ())
        return f"<p>Embeddings by: {verbatim(names)}.</p>"


class AudioFolderDataset(FolderDataset[Path]):
    """A folder of audio files; its preview plays a few of them."""

    def load(self) -> Path:
        """Return the folder's path."""
        if not self._filepath.is_dir():
            raise DatasetError(f"there is no folder {self._filepath}")
        return self._filepath

    def save(self, data: Path) -> None:
        """Check that the audio stands in this dataset's folder."""
        self._check_place(data)

    @described
    def preview(self, n_clips: int = 6) -> str:
        """Return players for clips spread evenly over the folder."""
        files = sorted(self._filepath.rglob("*.flac"))
        chosen = files[:: max(1, len(files) // n_clips)][:n_clips]
        return "".join(_player(file) for file in chosen)


def _listed(folder: Path) -> tuple[str, ...] | None:
    """Return which sub-folders belong to the study, None where the folder does not say."""
    listed = folder / "collection.json"
    if not listed.is_file():
        return None
    return tuple(json.loads(listed.read_text(encoding="utf-8")) or ()) or None


def _encoder_row(name: str, trained: Any) -> dict[str, Any]:
    facts = trained.provenance
    return {
        "name": name,
        "method": facts.get("method"),
        "pseudo-labels of": facts.get("source") or "",
        "seed": facts.get("seed"),
        "architecture": trained.name,
        "cut": trained.encoder.cut,
        "dimension": trained.encoder.dim,
        "parameters": trained.encoder.n_parameters,
    }


def _player(file: Path) -> str:
    return f"<p>{verbatim(file.name)}<br>{player_html(file.read_bytes(), 'flac')}</p>"
