"""Training clips kept on the GPU, so that a batch costs no copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

_CHUNK_FRAMES = 2**18  # gathered at a time while filling: 64 MB of float32
_SHARE = 0.4  # of the free GPU memory that clips may take


def fits_on(device: torch.device, store: Any, rows: np.ndarray) -> bool:
    """Return whether the clips take a moderate share of the GPU's free memory in float16."""
    free, _ = torch.cuda.mem_get_info(device)
    n_mels = store.crops(rows[:1], np.zeros(1, dtype=np.int64), 1)[0].shape[2]
    return int(np.asarray(store.n_frames)[rows].sum()) * n_mels * 2 < _SHARE * free


class DeviceFrames:
    """All frames of some clips in one float16 tensor, with the ``crops`` of a log-mel store.

    Args:
        store: The store the frames come from; float16 holds its values exactly.
        rows: The clips' rows in the store.
        device: Where the frames go.
    """

    def __init__(self, store: Any, rows: np.ndarray, device: torch.device) -> None:
        lengths = np.asarray(store.n_frames, dtype=np.int64)[rows]
        outside = store.crops(rows[:1], lengths[:1], 1)[0]  # one frame after the clip's end
        self.pad_value = float(outside.flatten()[0])
        by_length = np.argsort(lengths, kind="stable")  # read together, clips are padded little
        ends = np.cumsum(lengths[by_length])
        first = np.empty_like(lengths)
        first[by_length] = ends - lengths[by_length]
        self._lengths = torch.from_numpy(lengths).to(device)
        self._first = torch.from_numpy(first).to(device)
        self._frames = torch.empty(
            int(lengths.sum()), outside.shape[2], dtype=torch.float16, device=device
        )
        filled = 0
        for chunk in np.split(by_length, np.flatnonzero(np.diff(ends // _CHUNK_FRAMES)) + 1):
            block = self._read(store, rows[chunk], lengths[chunk])
            self._frames[filled : filled + len(block)] = block.to(device)
            filled += len(block)

    @staticmethod
    def _read(store: Any, rows: np.ndarray, lengths: np.ndarray) -> Tensor:
        longest = int(lengths.max())
        padded = store.crops(rows, np.zeros(len(rows), dtype=np.int64), longest)[0]
        real = torch.arange(longest) < torch.from_numpy(lengths)[:, None]
        return padded[real].half()

    def crops(self, rows: np.ndarray, starts: np.ndarray, length: int) -> tuple[Tensor, Tensor]:
        """Return crops of the clips, gathered on the device.

        Args:
            rows: Which of the clips, (B,).
            starts: First frame of each crop; may lie outside the clip.
            length: Frames per crop.

        Returns:
            Crops (B, length, F) float32, padded outside the clips, and their spans (B, 2).
        """
        device = self._frames.device
        row = torch.from_numpy(np.asarray(rows)).to(device, non_blocking=True)
        start = torch.from_numpy(np.asarray(starts)).to(device, non_blocking=True)
        end = self._lengths[row]
        frame = start[:, None] + torch.arange(length, device=device)  # (B, length)
        real = (frame >= 0) & (frame < end[:, None])
        place = torch.where(real, self._first[row][:, None] + frame, 0)
        crops = torch.where(real.unsqueeze(2), self._frames[place].float(), self.pad_value)
        spans = torch.stack([-start, end - start], dim=1).clamp(0, length).float()
        return crops, spans
