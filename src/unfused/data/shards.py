"""The files of a log-mel store: whole and undamaged, or named as not being so.

``shard-<n>.npy`` holds float16 frames and ``shard-<n>.json`` what they were made from,
``index.parquet`` one row per clip. ``store.json`` is written last: size and digest of all others.
"""

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
import torch

from ..core.errors import UserError
from ..core.outputs import damage, file_facts, read_sealed, write_sealed
from .log_mel import FrontEnd

STORE_FILE, INDEX_FILE = "store.json", "index.parquet"
_INDEX_TYPES = {
    **{"clip_id": str, "digest": str, "shard": "int64", "start": "int64", "n_frames": "int64"},
    **{"total": "float64", "total_sq": "float64"},
}


class StoreError(UserError):
    """A log-mel store is missing, unfinished, damaged, of other settings, or lacks a clip."""


class Clip(NamedTuple):
    """One clip as a store keeps it."""

    frames: np.ndarray  # its log-mel, (T, F) float16
    total: float  # sum of its values before they were rounded
    total_sq: float  # sum of their squares

    @classmethod
    def of(cls, blocks: Iterable[np.ndarray]) -> Self:
        """Return a clip that arrives in blocks, consecutive frames, each (T_i, F) float32."""
        halves, total, total_sq = [], 0.0, 0.0
        for block in blocks:
            total += float(block.sum(dtype=np.float64))
            total_sq += float(np.square(block, dtype=np.float64).sum())
            halves.append(torch.from_numpy(block).half().numpy())  # 20 times NumPy's own speed
        return cls(halves[0] if len(halves) == 1 else np.concatenate(halves), total, total_sq)


def shard_file(folder: Path, shard: int) -> Path:
    """Return the path of one shard's frames."""
    return folder / f"shard-{shard:05d}.npy"


def write_shard(path: Path, clips: Sequence[Clip], n_mels: int) -> list[tuple[Any, ...]]:
    """Write some clips' frames as one array, whole or not at all.

    Returned are start, n_frames, total and total_sq of each clip.
    """
    starts = list(accumulate((len(clip.frames) for clip in clips), initial=0))
    # of this process alone: workers may outlive a killed run and meet the next one's
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(_npy_header(starts[-1], n_mels))
            for clip in clips:
                file.write(np.ascontiguousarray(clip.frames, dtype="<f2").data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return [(start, len(clip[0]), *clip[1:]) for start, clip in zip(starts, clips, strict=False)]


def map_shard(path: Path, n_mels: int) -> np.ndarray:
    """Return one shard memory-mapped, (T, n_mels) float16, read-only."""
    header = len(_npy_header(0, n_mels)) // 2
    # unlike numpy.memmap this keeps no file open, so thousands of shards can be mapped
    size = path.stat().st_size // 2
    values = torch.from_file(str(path), shared=False, size=size, dtype=torch.float16).numpy()
    frames = values[header:].reshape(-1, n_mels)
    frames.flags.writeable = False
    return frames


def _npy_header(n_frames: int, n_mels: int) -> bytes:
    """Return the .npy header of a (n_frames, n_mels) float16 array; always equally long."""
    buffer = io.BytesIO()
    header = {"descr": "<f2", "fortran_order": False, "shape": (n_frames, n_mels)}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def finish_store(
    folder: Path, front_end: FrontEnd, rows: Sequence[tuple[object, ...]],
    shards: Mapping[str, Sequence[Any]] | None = None,
) -> None:  # fmt: skip
    """Declare the shards in ``folder`` whole: write the index, then sizes and digests of all files.

    A row is (clip_id, digest, shard, start, n_frames, total, total_sq) of a clip. ``shards`` are
    the files' names -> :func:`file_facts`; None: as they are now.
    """
    index = pd.DataFrame(list(rows), columns=list(_INDEX_TYPES)).astype(_INDEX_TYPES)
    temporary = folder / (INDEX_FILE + ".tmp")
    index.to_parquet(temporary, index=False)
    os.replace(temporary, folder / INDEX_FILE)
    if shards is None:
        shards = {path.name: file_facts(path) for path in sorted(folder.glob("shard-*.npy"))}
    files = {INDEX_FILE: file_facts(folder / INDEX_FILE), **shards}
    write_sealed(folder / STORE_FILE, {"front_end": front_end.settings(), "files": files})


def write_store(folder: Path, front_end: FrontEnd, log_mels: Mapping[str, np.ndarray]) -> None:
    """Write a small store of one shard: clip id -> (T, F) float32 with T >= 1."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = [Clip.of([log_mel]) for log_mel in log_mels.values()]
    places = write_shard(shard_file(folder, 0), clips, front_end.n_mels)
    rows = [(name, "", 0, *place) for name, place in zip(log_mels, places, strict=True)]
    finish_store(folder, front_end, rows)


def check_store(folder: Path) -> tuple[FrontEnd, list[Path]]:
    """Return front-end and shards of a finished store whose files are what was written.

    Raises:
        StoreError: The store is missing, unfinished or damaged; the message names the file.
    """
    if not (folder / STORE_FILE).is_file():
        state = "is unfinished" if any(folder.glob("shard-*")) else "does not exist"
        raise StoreError(f"the log-mel store {folder} {state}: run the extraction (again)")
    for name, what in damage(folder / STORE_FILE).items():
        raise StoreError(
            f"{folder / name} {what}, so the store is damaged: run the extraction again; it makes "
            "only what is damaged anew"
        )
    record = read_sealed(folder / STORE_FILE) or {}
    shards = sorted(folder / name for name in record["files"] if name != INDEX_FILE)
    return FrontEnd(**record["front_end"]), shards
