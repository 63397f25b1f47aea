"""The log-mel store: every clip's log-mel on disk, memory-mapped, random crops in one gather."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .log_mel import FrontEnd
from .shards import INDEX_FILE, Clip, StoreError, check_store, map_shard, write_store

Rows = np.ndarray | Tensor


class LogMelStore:
    """Log-mels of many clips: float16, time-major, concatenated in memory-mapped shards.

    Made by :meth:`open`, :meth:`union`, :meth:`write` or :meth:`in_memory`, not directly.

    Attributes:
        paths: Folders of the store, or of all stores in a union; none where it is in memory.
        front_end: The front-end all clips were made with.
        index: One row per clip: clip_id, digest, shard, start, n_frames, total, total_sq.
        clip_ids: Id of each row, (N,) str.
        n_frames: Length of each row in frames, (N,) int64.
    """

    def __init__(
        self, paths: Sequence[Path], front_end: FrontEnd, index: pd.DataFrame,
        shards: Sequence[Path | np.ndarray],
    ) -> None:  # fmt: skip
        self.paths = tuple(paths)
        self.front_end = front_end
        self.index = index
        self.clip_ids: np.ndarray = index["clip_id"].to_numpy(dtype=str)
        self.n_frames: np.ndarray = index["n_frames"].to_numpy(dtype=np.int64)
        self._shard: np.ndarray = index["shard"].to_numpy(dtype=np.int64)
        self._start: np.ndarray = index["start"].to_numpy(dtype=np.int64)
        self._row_of = pd.Index(index["clip_id"])
        self._sources = list(shards)
        self._shards = [
            map_shard(shard, front_end.n_mels) if isinstance(shard, Path) else shard
            for shard in shards
        ]
        if not self._row_of.is_unique:
            twice = self._row_of[self._row_of.duplicated()][0]
            raise StoreError(f"clip {twice} is stored twice; give each corpus to the union once")

    @property
    def path(self) -> Path:
        """Folder of the store, or of the first one in a union."""
        return self.paths[0] if self.paths else Path()

    @classmethod
    def open(cls, path: str | Path, front_end: FrontEnd | None = None) -> Self:
        """Open a finished store, memory-mapped; all of it is read once in this process and checked.

        Raises:
            StoreError: Missing, unfinished or damaged, or made with another front-end.
        """
        path = Path(path)
        stored, shards = check_store(path)
        if front_end is not None and stored != front_end:
            raise StoreError(
                f"the log-mel store {path} was made with {stored}, but {front_end} is asked for: "
                "extract it again with these settings, or use the store's"
            )
        return cls([path], stored, pd.read_parquet(path / INDEX_FILE), shards)

    @classmethod
    def union(cls, stores: Sequence[Self]) -> Self:
        """Return one store over several, rows in order; a clip that several hold is taken once.

        Raises:
            StoreError: No store, or different front-ends.
        """
        if not stores:
            raise StoreError("a union needs at least one log-mel store; none was given")
        first, shards, tables = stores[0], list[Path | np.ndarray](), []
        for store in stores:
            if store.front_end != first.front_end:
                raise StoreError(
                    f"{store.path} was made with {store.front_end}, {first.path} with "
                    f"{first.front_end}: extract them with one front-end"
                )
            tables.append(store.index.assign(shard=store._shard + len(shards)))
            shards += store._sources
        index = pd.concat(tables).drop_duplicates("clip_id", ignore_index=True)
        return cls([path for s in stores for path in s.paths], first.front_end, index, shards)

    @classmethod
    def write(
        cls, path: str | Path, front_end: FrontEnd, log_mels: Mapping[str, np.ndarray]
    ) -> Self:
        """Make and open a small store of log-mels in memory: clip id -> (T, F) with T >= 1."""
        write_store(Path(path), front_end, log_mels)
        return cls.open(path)

    @classmethod
    def in_memory(cls, front_end: FrontEnd, log_mels: Iterable[Iterable[np.ndarray]]) -> Self:
        """Return a store without a disk, of clips "0", "1" ..., with the values one on disk has.

        Each clip comes in consecutive blocks of frames, (T_i, F) float32.

        Raises:
            StoreError: No clip.
        """
        clips = [Clip.of(blocks) for blocks in log_mels]
        if not clips:
            raise StoreError("a store in memory needs at least one clip; none was given")
        frames, total, total_sq = zip(*clips, strict=True)
        n_frames = np.array([len(clip) for clip in frames])
        names, starts = [str(i) for i in range(len(clips))], np.cumsum(n_frames) - n_frames
        index = pd.DataFrame({"clip_id": names, "digest": "", "shard": 0, "start": starts})
        index = index.assign(n_frames=n_frames, total=total, total_sq=total_sq)
        return cls([], front_end, index, [np.concatenate(frames)])

    def __len__(self) -> int:
        return len(self.clip_ids)

    def __reduce__(self) -> tuple[Any, ...]:  # other processes map the files again: no copies
        return LogMelStore, (self.paths, self.front_end, self.index, self._sources)

    def rows(self, clip_ids: Iterable[str]) -> np.ndarray:
        """Return the row of each clip, (B,) int64.

        Raises:
            StoreError: A clip is not in the store.
        """
        wanted = np.asarray(list(clip_ids), dtype=str)
        rows = self._row_of.get_indexer(pd.Index(wanted)).astype(np.int64)
        if (rows < 0).any():
            missing = wanted[rows < 0]
            raise StoreError(
                f"{len(missing)} of {len(wanted)} clips are not in {self.path}, e.g. "
                f"{missing[0]}: they were rejected in extraction, or belong to another corpus"
            )
        return rows

    def crops(self, rows: Rows, starts: Rows, length: int) -> tuple[Tensor, Tensor]:
        """Return one crop of each row, (B,) integers, in a single gather.

        Starts are the crops' first frames, (B,); negative ones and those that overrun the clip
        reach into padding with log(eps). Crops are (B, length, F), beside the first and end frame
        of the clip in each, (B, 2), float32.
        """
        rows = np.asarray(rows, dtype=np.int64)
        starts = np.asarray(starts, dtype=np.int64)
        n_frames = self.n_frames[rows]
        frames = starts[:, None] + np.arange(length)  # (B, length), within the clip
        np.clip(frames, 0, n_frames[:, None] - 1, out=frames)
        frames += self._start[rows, None]
        crops = self._gather(self._shard[rows], frames)
        ends = np.clip(n_frames - starts, 0, length)
        spans = np.stack([np.clip(-starts, 0, length), ends], axis=1).astype(np.float32)
        frame = np.arange(length)
        outside = (frame < spans[:, :1]) | (frame >= spans[:, 1:])  # (B, length)
        if outside.any():
            crops.numpy()[outside] = self.front_end.pad_value
        return crops, torch.from_numpy(spans)

    def clip(self, row: int) -> np.ndarray:
        """Return a whole clip, (T, F) float32."""
        first = self._start[row]
        frames = self._shards[self._shard[row]][first : first + self.n_frames[row]]
        return frames.astype(np.float32)

    def statistics(self, rows: Rows) -> tuple[float, float]:
        """Return mean and standard deviation over all values of these clips, from float64 sums.

        Raises:
            StoreError: No rows.
        """
        chosen = self.index.iloc[np.asarray(rows, dtype=np.int64)]
        count = int(chosen["n_frames"].sum()) * self.front_end.n_mels
        if not count:
            raise StoreError("statistics over no clips: name at least one row")
        mean = float(chosen["total"].sum()) / count
        variance = float(chosen["total_sq"].sum()) / count - mean**2
        return mean, max(variance, 0.0) ** 0.5

    def time_means(self, rows: Rows) -> np.ndarray:
        """Return each clip's mean log-mel over its frames, (B, F) float32."""
        means = [self.clip(row).mean(axis=0) for row in np.asarray(rows, dtype=np.int64)]
        return np.array(means, dtype=np.float32).reshape(-1, self.front_end.n_mels)

    def _gather(self, shards: np.ndarray, frames: np.ndarray) -> Tensor:
        """Copy frames (B, L) of each row's shard into (B, L, F), one take per shard."""
        order = np.argsort(shards, kind="stable")
        touched, first = np.unique(shards[order], return_index=True)
        frames = frames[order]
        crops = torch.empty((*frames.shape, self.front_end.n_mels))
        target = crops.numpy()
        ends = np.append(first, len(order))[1:]
        for shard, i, j in zip(touched, first, ends, strict=True):
            taken = torch.from_numpy(self._shards[shard].take(frames[i:j], axis=0))
            target[order[i:j]] = taken.float().numpy()  # a few crops: all of this stays in cache
        return crops
