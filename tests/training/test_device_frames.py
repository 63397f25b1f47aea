from __future__ import annotations

import numpy as np
import torch

from unfused.training.batches import DeviceFrames

from .toy_training import N_MELS, MemoryStore

LENGTHS = [9, 3, 50, 1, 7, 20, 4, 4]


def test_frames_are_the_stores() -> None:
    store, rows = MemoryStore([5, *LENGTHS]), np.arange(8, 0, -1)  # some clips, in another order
    frames = DeviceFrames(store, rows, torch.device("cpu"))
    clips = np.tile(np.arange(8), 3)
    starts = np.repeat([0, -3, 2], 8)
    expected, spans = store.crops(rows[clips], starts, 6)
    crops, found = frames.crops(clips, starts, 6)
    assert torch.equal(crops, expected)
    assert crops.shape == (24, 6, N_MELS)
    real = spans[:, 0] < spans[:, 1]
    assert torch.equal(found[real], spans[real])
