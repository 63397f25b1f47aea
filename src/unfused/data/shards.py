"""The files of a log-mel store: whole and undamaged, or named as not being so.

``shard-<n>.npy`` holds float16 frames and ``shard-<n>.json`` what they were made from,
``index.parquet`` one row per clip. ``store.json`` is written last: size and digest of all others.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
import torch

from ..core.errors import UserError
from ..core.outputs import digest_of, mark_of, write_json
from .log_mel import FrontEnd

STORE_FILE, INDEX_FILE = "store.json", "index.parquet"
_INDEX_TYPES = {
    "clip_id": str,
    "digest": str,
    "shard": "int64",
    "start": "int64",
    "n_frames": "int64",
    "total": "float64",
    "total_sq": "float64",
}
_checked: set[tuple[str, int, int, str]] = set()  # files whose digest this process has compared


class StoreError(UserError):
    """A log-mel store is missing, unfinished, damaged, of other settings, or lacks a clip."""


class StoredClip(NamedTuple):
    """Where one clip stands in its shard, and the sums its statistics are made from."""

    start: int
    n_frames: int
    total: float
    total_sq: float


def shard_file(folder: Path, shard: int) -> Path:
    """Return the path of one shard's frames."""
    return folder / f"shard-{shard:05d}.npy"


def to_half(frames: np.ndarray) -> np.ndarray:
    """Return frames, (T, F) float32, as a store keeps them: float16."""
    return torch.from_numpy(frames).half().numpy()  # NumPy's own cast is 20 times slower


def _npy_header(n_frames: int, n_mels: int) -> bytes:
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
        self._header_length = self._file.write(_npy_header(0, self.n_mels))
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
                self._file.write(np.ascontiguousarray(to_half(block), dtype="<f2").data)
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
            with self._file:
                if kind is None:
                    self._finish_header()
            if kind is None:
                os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _finish_header(self) -> None:
        header = _npy_header(self.n_frames, self.n_mels)
        if len(header) != self._header_length:
            raise RuntimeError(f"{self.path}: {self.n_frames} frames do not fit the .npy header")
        self._file.seek(0)
        self._file.write(header)
        self._file.flush()
        os.fsync(self._file.fileno())


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with a seal, the hash of its content."""
    write_json(path, {**content, "seal": mark_of(**content)})


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Return JSON with a seal; None if it is not there, or not what was written."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        seal = content.pop("seal")
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return content if seal == mark_of(**content) else None


def file_facts(path: Path) -> list[Any]:
    """Return size in bytes and digest of a file."""
    return [path.stat().st_size, digest_of(path)]


def damage(path: Path, facts: Sequence[Any], *, verify: bool = True) -> str:
    """Say what is wrong with a file; "" if nothing is.

    Args:
        path: The file.
        facts: What :func:`file_facts` said when it was written.
        verify: Compare the digest too; once in a process, as long as the file does not change.
    """
    size, digest = facts
    if not path.is_file():
        return "is missing"
    found = path.stat()
    if found.st_size != size:
        return f"has {found.st_size} bytes instead of {size}"
    key = (str(path.resolve()), found.st_ino, found.st_mtime_ns, str(digest))
    if verify and key not in _checked:
        if digest_of(path) != digest:
            return "is not what was written"
        _checked.add(key)
    return ""


def finish_store(
    folder: Path,
    front_end: FrontEnd,
    rows: Sequence[tuple[object, ...]],
    shards: Mapping[str, Sequence[Any]] | None = None,
) -> None:
    """Declare the shards in ``folder`` whole: write the index, then sizes and digests of all files.

    Args:
        folder: Folder of the store.
        front_end: The front-end of all its clips.
        rows: (clip_id, digest, shard, start, n_frames, total, total_sq) of each clip.
        shards: Name of each shard's file -> its :func:`file_facts`; None: as they are now.
    """
    index = pd.DataFrame(list(rows), columns=list(_INDEX_TYPES)).astype(_INDEX_TYPES)
    temporary = folder / (INDEX_FILE + ".tmp")
    index.to_parquet(temporary, index=False)
    os.replace(temporary, folder / INDEX_FILE)
    if shards is None:
        shards = {path.name: file_facts(path) for path in sorted(folder.glob("shard-*.npy"))}
    files = {INDEX_FILE: file_facts(folder / INDEX_FILE), **shards}
    write_sealed(folder / STORE_FILE, {"front_end": asdict(front_end), "files": files})


def check_store(folder: Path, *, verify: bool = True) -> tuple[FrontEnd, list[Path]]:
    """See that the files of a finished store are what was written.

    Args:
        folder: Folder of the store.
        verify: Compare the shards' digests too; sizes, settings and index are always compared.

    Returns:
        The front-end of its clips, and its shards.

    Raises:
        StoreError: The store is missing, unfinished or damaged; the message names the file.
    """
    if not (folder / STORE_FILE).is_file():
        state = "is unfinished" if any(folder.glob("shard-*")) else "does not exist"
        raise StoreError(f"the log-mel store {folder} {state}: run the extraction (again)")
    record = read_sealed(folder / STORE_FILE)
    if record is None:
        raise _damaged(folder / STORE_FILE, "is not what was written")
    for name, facts in record["files"].items():
        if what := damage(folder / name, facts, verify=verify or name == INDEX_FILE):
            raise _damaged(folder / name, what)
    shards = sorted(folder / name for name in record["files"] if name != INDEX_FILE)
    return FrontEnd(**record["front_end"]), shards


def _damaged(file: Path, what: str) -> StoreError:
    return StoreError(
        f"{file} {what}, so the store is damaged: run the extraction again; it makes only what is "
        "damaged anew"
    )


def map_shard(path: Path, n_mels: int) -> np.ndarray:
    """Return one shard memory-mapped, (T, n_mels) float16, read-only."""
    header = len(_npy_header(0, n_mels)) // 2
    # unlike numpy.memmap this keeps no file open, so thousands of shards can be mapped
    size = path.stat().st_size // 2
    values = torch.from_file(str(path), shared=False, size=size, dtype=torch.float16).numpy()
    frames = values[header:].reshape(-1, n_mels)
    frames.flags.writeable = False
    return frames
