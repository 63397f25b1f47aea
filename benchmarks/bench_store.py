"""Random crops from a log-mel store: crops per second on one core.

python benchmarks/bench_store.py --clips 20480 --json store.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from unfused.data.log_mel import FrontEnd
from unfused.data.shards import Clip, finish_store, shard_file, write_shard
from unfused.data.store import LogMelStore

CLIPS_PER_SHARD = 512


def write_store(folder: Path, n_clips: int, frames: tuple[int, int]) -> LogMelStore:
    """Make a store of noise clips whose lengths lie within ``frames``."""
    rng, front_end = np.random.default_rng(0), FrontEnd()
    noise = rng.normal(-6, 3, (frames[1], front_end.n_mels)).astype(np.float32)
    rows: list[tuple[object, ...]] = []
    for shard, first in enumerate(range(0, n_clips, CLIPS_PER_SHARD)):
        numbers = range(first, min(first + CLIPS_PER_SHARD, n_clips))
        lengths = rng.integers(frames[0], frames[1] + 1, len(numbers))
        clips = [Clip.of([noise[:length]]) for length in lengths]
        places = write_shard(shard_file(folder, shard), clips, front_end.n_mels)
        rows += [(f"clip{i}", "", shard, *place) for i, place in zip(numbers, places, strict=True)]
    finish_store(folder, front_end, rows)
    return LogMelStore.open(folder)


def crops_per_second(store: LogMelStore, length: int, batch: int, n_batches: int) -> float:
    """Draw random crops, clips shorter than ``length`` at a random place in padding."""
    rng = np.random.default_rng(1)

    def draw() -> None:
        rows = rng.integers(0, len(store), batch)
        room = store.n_frames[rows] - length
        starts = np.where(room >= 0, 1, -1) * rng.integers(0, np.abs(room) + 1)
        store.crops(rows, starts, length)

    for _ in range(n_batches // 4):
        draw()  # the page cache
    start = time.perf_counter()
    for _ in range(n_batches):
        draw()
    return n_batches * batch / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=20480)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--length", type=int, default=96)
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for kind, frames in (("1 to 3 s", (101, 301)), ("0.2 to 1.5 s, most padded", (21, 151))):
        with tempfile.TemporaryDirectory() as folder:
            store = write_store(Path(folder), arguments.clips, frames)
            rate = crops_per_second(store, arguments.length, arguments.batch, arguments.batches)
        results.append({"clips": arguments.clips, "lengths": kind, "crops_per_s": round(rate)})
    print(pd.DataFrame(results).to_string(index=False))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
