"""The files of a log-mel store: shards streamed as float16, whole or not there at all."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import numpy as np
import pandas as pd
import torch

from ..core.errors import UserError
from ..core.outputs import write_json
from .log_mel import FrontEnd

STORE_FILE, INDEX_FILE = "store.json", "index.parquet"
FORMAT_VERSION = 1
_INDEX_TYPES = {
    "clip_id": str,
    "digest": str,
    "shard": "int64",
    "start": "int64",
    "n_frames": "int64",
    "total": "float64",
    "total_sq": "float64",
}


class StoreError(UserError):
    """A log-mel store is missing, unfinished, of other settings, or lacks the clip asked for."""


class StoredClip(NamedTuple):
    """Where one clip stands in its shard, and the sums its statistics are made from."""

    start: int
    n_frames: int
    total: float
    total_sq: float


def shard_file(folder: Path, shard: int) -> Path:
    """Return the path of one shard's frames."""
    return folder / f"shard-{shard:05d}.npy"


def npy_header(n_frames: int, n_mels: int) -> bytes:
    """Return the .npy header of a (n_frames, n_mels) float16 array; always equally long."""
    buffer = io.BytesIO()
    header = {"descr": "<f2", "fortran_order": False, "shape": (n_frames, n_mels)}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


class ShardWriter:
    """Appends clips to a temporary .npy file that takes its name only when it is whole.

    Args:
        path: The shard's final path.
        n_mels: Number of mel bands F.
    """

    def __init__(self, path: Path, n_mels: int) -> None:
        self.path = path
        self.n_mels = n_mels
        self.n_frames = 0
        # of this process alone: workers may outlive a killed run and meet the next one's
        self._temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> ShardWriter:
        self._file: BinaryIO = open(self._temporary, "wb")
        self._header_length = self._file.write(npy_header(0, self.n_mels))
        return self

    def append(self, blocks: Iterable[np.ndarray]) -> StoredClip:
        """Write one clip that arrives in blocks; an error leaves the shard as it was before.

        Args:
            blocks: Consecutive log-mel frames of one clip, each (T_i, F) float32.

        Returns:
            Its place and the float64 sums of its values before they are rounded to float16.
        """
        start, total, total_sq = self.n_frames, 0.0, 0.0
        try:
            for block in blocks:
                total += float(block.sum(dtype=np.float64))
                total_sq += float(np.square(block, dtype=np.float64).sum())
                half = torch.from_numpy(block).half().numpy()  # NumPy's own cast is 20 times slower
                self._file.write(np.ascontiguousarray(half, dtype="<f2").data)
                self.n_frames += len(block)
        except BaseException:
            self._file.seek(self._header_length + start * self.n_mels * 2)
            self._file.truncate()
            self.n_frames = start
            raise
        return StoredClip(start, self.n_frames - start, total, total_sq)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            try:
                if kind is None:
                    self._finish_header()
            finally:
                self._file.close()
            if kind is None:
                os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _finish_header(self) -> None:
        header = npy_header(self.n_frames, self.n_mels)
        if len(header) != self._header_length:
            raise RuntimeError(f"{self.path}: {self.n_frames} frames do not fit the .npy header")
        self._file.seek(0)
        self._file.write(header)
        self._file.flush()
        os.fsync(self._file.fileno())


def finish_store(folder: Path, front_end: FrontEnd, rows: Sequence[tuple[object, ...]]) -> None:
    """Declare the shards in ``folder`` whole: write the settings, then the index as the last file.

    Args:
        folder: Folder of the store.
        front_end: The front-end of all its clips.
        rows: (clip_id, digest, shard, start, n_frames, total, total_sq) of each clip.
    """
    settings = {"format": FORMAT_VERSION, "front_end": front_end.settings()}
    write_json(folder / STORE_FILE, settings)
    index = pd.DataFrame(list(rows), columns=list(_INDEX_TYPES)).astype(_INDEX_TYPES)
    temporary = folder / (INDEX_FILE + ".tmp")
    index.to_parquet(temporary, index=False)
    os.replace(temporary, folder / INDEX_FILE)


def read_front_end(folder: Path) -> FrontEnd:
    """Return the front-end of a finished store.

    Raises:
        StoreError: The store is missing, unfinished, or of another format.
    """
    if not (folder / INDEX_FILE).is_file() or not (folder / STORE_FILE).is_file():
        state = "is unfinished" if any(folder.glob("shard-*")) else "does not exist"
        raise StoreError(f"the log-mel store {folder} {state}: run the extraction (again)")
    try:
        stored = json.loads((folder / STORE_FILE).read_text(encoding="utf-8"))
        version, settings = stored["format"], stored["front_end"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{folder / STORE_FILE} is damaged: delete {folder}, extract again"
        ) from error
    if version != FORMAT_VERSION:
        raise StoreError(
            f"the log-mel store {folder} has format {version!r}, this version reads "
            f"{FORMAT_VERSION}: delete it and extract again"
        )
    return FrontEnd(**settings)


def map_shard(path: Path, n_frames: int, n_mels: int) -> np.ndarray:
    """Return one shard memory-mapped, (n_frames, n_mels) float16, read-only.

    Raises:
        StoreError: The shard is missing or has another size than the index says.
    """
    header = len(npy_header(n_frames, n_mels))
    size = path.stat().st_size if path.is_file() else 0
    if size != header + 2 * n_frames * n_mels:
        raise StoreError(
            f"{path} holds {size} bytes instead of {header + 2 * n_frames * n_mels}: the store is "
            "damaged; delete this shard and run the extraction again"
        )
    # unlike numpy.memmap this keeps no file open, so thousands of shards can be mapped
    values = torch.from_file(str(path), shared=False, size=size // 2, dtype=torch.float16).numpy()
    frames = values[header // 2 :].reshape(n_frames, n_mels)
    frames.flags.writeable = False
    return frames
