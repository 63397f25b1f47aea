"""Batches of random crops as a pure function of (seed, step)."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from torch import Tensor

from ..core.distributed import rank, world_size
from ..core.errors import UserError, must_be
from ..core.seeding import numpy_generator
from ..data.store import LogMelStore
from ..views.view import View

Batch = tuple[Tensor, View]
_SHARE = 0.4  # of the free GPU memory that clips may take


class CropSource:
    """Batches of crops from a log-mel store.

    Every epoch is a new permutation of the clips and every visit of a clip a new crop, both decided
    by (seed, step) alone. While a batch is used a thread gathers the next. The clips left over at
    an epoch's end are skipped. Under torch.distributed every process gets an equal part of each
    batch, the first process the first clips.

    ``rows`` are the training clips' in the store, (n_clips,), and ``n_crops`` the independent crops
    of every clip in a batch (COLA takes two). On a GPU the clips are kept in float16 if they fit,
    unless ``on_device`` forces or forbids it. A clip shorter than a crop lies at a random place in
    silence.

    ``clips_per_step`` are those of all processes: ``batch_size``, or all if there are fewer.

    Raises:
        UserError: Fewer than two clips, a batch or crop too small, or a batch that the processes
            cannot share.
    """

    def __init__(
        self, store: LogMelStore, rows: np.ndarray, *, crop_frames: int, batch_size: int, seed: int,
        device: torch.device | str = "cpu", on_device: bool | None = None, n_crops: int = 1,
    ) -> None:  # fmt: skip
        self.rows = np.asarray(rows, dtype=np.int64)
        if len(self.rows) < 2:
            raise UserError(
                f"{len(self.rows)} training clips: training needs at least 2, because batch "
                "normalisation does; add audio or check the split"
            )
        must_be("at least 2", batch_size=batch_size)
        must_be("at least 1", crop_frames=crop_frames, n_crops=n_crops)
        self.crop_frames, self.batch_size, self.seed = crop_frames, batch_size, seed
        self.n_crops = n_crops
        self.processes, self.process = world_size(), rank()
        self.n_clips = len(self.rows)
        clips = min(batch_size, self.n_clips)
        self.clips_per_step = clips - clips % self.processes
        if batch_size % self.processes or self.clips_per_step < 2 * self.processes:
            raise UserError(
                f"batch_size={batch_size} cannot be shared by {self.processes} processes: of "
                f"{self.clips_per_step} clips a step each needs at least 2, and all as many; take "
                f"a multiple of {self.processes}, fewer processes or more clips"
            )
        self.steps_per_epoch = self.n_clips // self.clips_per_step
        self.device = torch.device(device)
        self.lengths = np.asarray(store.n_frames)[self.rows]
        if on_device is None and self.device.type == "cuda":
            size = int(self.lengths.sum()) * store.front_end.n_mels * 2  # bytes in float16
            on_device = size < _SHARE * torch.cuda.mem_get_info(self.device)[0]
        self._store = DeviceFrames(store, self.rows, self.device) if on_device else store
        self._store_rows = np.arange(len(self.rows)) if on_device else self.rows
        self._thread: ThreadPoolExecutor | None = None
        self._next: tuple[int, Future[Batch]] | None = None

    def batch(self, step: int) -> Batch:
        """Return this process's part of a step's batch, and start to gather the next step's.

        It is each clip as an index into ``rows``, (B,) int64, and the crops in nats, the first crop
        of every clip, then the second of every clip ..., (n_crops * B, 1, F, T).
        """
        expected, future = self._next or (-1, None)
        batch = future.result() if future and expected == step else self._gather(step)
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="crops")
        self._next = (step + 1, self._thread.submit(self._gather, step + 1))
        return batch

    def sweep(self, *stream: int | str) -> Iterator[Batch]:
        """Yield one crop of every clip in clip order, to each process its share of the batches."""
        uniform = numpy_generator(self.seed, "sweep", *stream).random(self.n_clips)
        n_batches = -(-self.n_clips // max(self.batch_size, 64))
        n_batches = self.processes * -(-n_batches // self.processes)  # none has to wait
        batches = np.array_split(np.arange(self.n_clips), n_batches)
        for clips in batches[self.process :: self.processes]:
            yield self._crops(clips, uniform[clips])

    def close(self) -> None:
        """Wait for the thread and end it; :meth:`batch` would start a new one."""
        self._next = None
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
        self._thread = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _gather(self, step: int) -> Batch:
        epoch, index = divmod(step, self.steps_per_epoch)
        size, share = self.clips_per_step, self.clips_per_step // self.processes
        mine = slice(self.process * share, (self.process + 1) * share)
        order = _order(self.seed, epoch, self.n_clips)
        clips = order[index * size : (index + 1) * size][mine]
        uniform = numpy_generator(self.seed, "crops", step).random(size * self.n_crops)
        return self._crops(clips, uniform.reshape(self.n_crops, size)[:, mine].ravel())

    def _crops(self, clips: np.ndarray, uniform: np.ndarray) -> Batch:
        visits = np.tile(clips, len(uniform) // len(clips))
        starts = crop_starts(self.lengths[visits], self.crop_frames, uniform)
        log_mel, spans = self._store.crops(self._store_rows[visits], starts, self.crop_frames)
        view = View(log_mel.transpose(1, 2).unsqueeze(1), spans)  # (B, 1, F, T)
        ids = torch.from_numpy(np.ascontiguousarray(clips))
        return self._to_device(ids), View(*map(self._to_device, view))

    def _to_device(self, tensor: Tensor) -> Tensor:
        if self.device.type == "cuda" and tensor.device.type == "cpu":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


class DeviceFrames:
    """All frames of some clips of a store on a device, in float16, which holds them exactly."""

    def __init__(self, store: LogMelStore, rows: np.ndarray, device: torch.device) -> None:
        lengths = np.asarray(store.n_frames, dtype=np.int64)[rows]
        first = np.cumsum(lengths) - lengths
        self.pad_value = store.front_end.pad_value
        self._lengths, self._first = (torch.from_numpy(x).to(device) for x in (lengths, first))
        shape = (int(lengths.sum()), store.front_end.n_mels)
        self._frames = torch.empty(shape, dtype=torch.float16, device=device)
        for row, begin, length in zip(rows, first, lengths, strict=True):
            self._frames[begin : begin + length] = torch.from_numpy(store.clip(row))

    def crops(self, rows: np.ndarray, starts: np.ndarray, length: int) -> tuple[Tensor, Tensor]:
        """Return what :meth:`LogMelStore.crops` would, gathered on the device."""
        device = self._frames.device
        row = torch.from_numpy(np.asarray(rows)).to(device, non_blocking=True)
        start = torch.from_numpy(np.asarray(starts)).to(device, non_blocking=True)
        end = self._lengths[row]
        frame = start[:, None] + torch.arange(length, device=device)  # (B, length)
        real = (frame >= 0) & (frame < end[:, None])
        place = torch.where(real, self._first[row][:, None] + frame, 0)
        crops = torch.where(real.unsqueeze(2), self._frames[place].float(), self.pad_value)
        return crops, torch.stack([-start, end - start], dim=1).clamp(0, length).float()


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, n_clips: int) -> np.ndarray:
    return numpy_generator(seed, "order", epoch).permutation(n_clips)


def crop_starts(lengths: np.ndarray, crop_frames: int, uniform: np.ndarray) -> np.ndarray:
    """Return where crops start in clips of these lengths, (B,), for draws from [0, 1), (B,).

    Negative where the clip is shorter than the crop.

    >>> crop_starts(np.array([10, 4]), 6, np.array([0.99, 0.99])).tolist()
    [4, -2]
    """
    slack = lengths - crop_frames
    return np.sign(slack) * np.floor(uniform * (np.abs(slack) + 1)).astype(np.int64)
