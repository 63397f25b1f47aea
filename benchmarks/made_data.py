"""Data that the benchmarks make themselves, the same for everybody."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile as sf

from unfused.data.log_mel import FrontEnd
from unfused.data.shards import Clip, finish_store, shard_file, write_shard
from unfused.data.store import LogMelStore

RATE = 44100


def audio(folder: Path, n_clips: int, seconds: float = 10.0, distinct: int = 32) -> list[Path]:
    """Write decaying harmonic tones over noise, 16-bit mono FLAC of 44.1 kHz.

    So many are distinct; the others are links to them, which are decoded all the same.
    """
    folder.mkdir(parents=True)
    moments, files = np.arange(round(seconds * RATE)) / RATE, []
    for i in range(n_clips):
        files.append(folder / f"{i:05d}.flac")
        if i >= distinct:
            os.link(files[i % distinct], files[i])
            continue
        rng = np.random.default_rng(i)
        pitch = rng.uniform(80, 800)
        tones = sum(np.sin(2 * np.pi * pitch * k * moments) / k for k in range(1, 13))
        noise = rng.standard_normal(moments.size)
        sf.write(files[i], 0.2 * tones * np.exp(-moments) + 0.002 * noise, RATE)
    return files


def noise_store(folder: Path, n_clips: int) -> tuple[LogMelStore, list[Path]]:
    """Write log-mels of 1 to 3 s: a store, and a .npy file of float32 (F, T) for each clip."""
    rng, front_end, rows, files = np.random.default_rng(0), FrontEnd(), [], []
    folder.mkdir(parents=True)
    for shard, first in enumerate(range(0, n_clips, 512)):
        clips = []
        for i in range(first, min(first + 512, n_clips)):
            colour = 3 * rng.standard_normal(front_end.n_mels, np.float32) - 6
            shape = rng.integers(101, 302), front_end.n_mels
            log_mel = colour + 2 * rng.standard_normal(shape, np.float32)
            clips.append(Clip.of([log_mel]))
            files.append(folder / f"clip{i}.npy")
            np.save(files[-1], np.ascontiguousarray(log_mel.T))
        places = write_shard(shard_file(folder, shard), clips, front_end.n_mels)
        rows += [(f"clip{first + i}", "", shard, *place) for i, place in enumerate(places)]
    finish_store(folder, front_end, rows)
    return LogMelStore.open(folder), files


def vectors(
    n: int, separation: float = 0.35, seed: int = 0, dim: int = 2048, classes: int = 35
) -> tuple[np.ndarray, np.ndarray]:
    """Return correlated non-negative features, as a ReLU leaves them, (N, D), and labels."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(1)
    labels = rng.integers(classes, size=n)
    centres = separation * fixed.standard_normal((classes, 60), "f4")
    mixing = fixed.standard_normal((60, dim), "f4") / np.float32(60**0.5)
    features = np.empty((n, dim), "f4")
    for first in range(0, n, 4096):
        rows = slice(first, first + 4096)
        hidden = centres[labels[rows]]
        hidden = hidden + rng.standard_normal(hidden.shape, "f4")
        noise = rng.standard_normal((len(hidden), dim), "f4")
        features[rows] = np.maximum(hidden @ mixing + noise / 2, 0.0)
    return features, labels
