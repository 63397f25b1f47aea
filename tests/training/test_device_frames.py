from __future__ import annotations

import numpy as np
import pytest
import torch

from unfused.training import batches
from unfused.training.batches import DeviceFrames

from .toy_training import N_MELS, MemoryStore

LENGTHS = [9, 3, 50, 1, 7, 20, 4, 4]


@pytest.mark.parametrize("chunk", [1, 10, 60, 2**18])
def test_frames_are_the_stores_whatever_the_chunks(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(batches, "_CHUNK_FRAMES", chunk)
    store, rows = MemoryStore([5, *LENGTHS]), np.arange(8, 0, -1)  # some clips, in another order
    frames = DeviceFrames(store, rows, torch.device("cpu"))
    clips = np.tile(np.arange(8), 3)
    starts = np.repeat([0, -3, 2], 8)
    expected, spans = store.crops(rows[clips], starts, 6)
    crops, found = frames.crops(clips, starts, 6)
    assert torch.equal(crops, expected)
    for one, two in zip(
        frames.crops(clips, starts, 6, repeat=True),
        store.crops(rows[clips], starts, 6, repeat=True),
        strict=True,
    ):
        assert torch.equal(one, two)
    assert crops.shape == (24, 6, N_MELS)
    real = spans[:, 0] < spans[:, 1]
    assert torch.equal(found[real], spans[real])


def test_a_long_clip_does_not_pad_the_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_CHUNK_FRAMES", 40)
    store, read = MemoryStore([4] * 30 + [400]), []
    original = store.crops

    def crops(rows: np.ndarray, starts: np.ndarray, length: int) -> object:
        read.append(len(rows) * length)
        return original(rows, starts, length)

    monkeypatch.setattr(store, "crops", crops)
    DeviceFrames(store, np.arange(31), torch.device("cpu"))
    assert sum(read) <= 4 * 30 + 400 + 1
    assert len(read) <= 6
