"""Data: crops and views from the store, log-mels from files, an index of a million clips."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch

import plain
from made_data import audio, noise_store
from table import Row, least, measure, peak
from unfused.data.extraction import extract_log_mels
from unfused.data.log_mel import FrontEnd
from unfused.data.manifest import MANIFEST_TYPES, scan_audio
from unfused.data.shards import finish_store, shard_file
from unfused.data.store import LogMelStore
from unfused.tasks.corpus import Corpus
from unfused.training.batches import CropSource
from unfused.views import ViewMaker, fit_centroids

BATCH = 256


def crops() -> Iterator[Row]:
    """Draw random crops of 96 frames from 4,096 clips of 1 to 3 s."""
    with TemporaryDirectory() as folder:
        store, files = noise_store(Path(folder) / "store", 4096)
        rng = np.random.default_rng(1)

        def ours() -> None:
            for _ in range(40):
                rows = rng.integers(0, len(store), BATCH)
                starts = rng.integers(0, store.n_frames[rows] - plain.FRAMES + 1)
                store.crops(rows, starts, plain.FRAMES)

        def per_clip() -> None:
            rows = rng.integers(0, len(store), BATCH)
            torch.from_numpy(np.stack([plain.crop(np.load(files[row])) for row in rows]))

        a, b = least(5, ours, per_clip)
    a, b = 1e3 * a / BATCH / 40, 1e3 * b / BATCH
    yield Row("random crops from the store / from a .npy file per clip", a, b, 10, "ms a crop")
    yield Row("random crops from the store: 20,000 a second", a, None, 0.05, "ms a crop")


def views_with_k_mix() -> Iterator[Row]:
    """Make two views of a crop, from the store on: 128 clips, 2,048 past crops, 128 clusters."""
    with TemporaryDirectory() as folder:
        store, files = noise_store(Path(folder) / "store", 4096)
        rows = np.arange(len(store))
        mean, std = store.statistics(rows)
        centroids, _ = fit_centroids(store, rows)
        source = CropSource(store, rows, crop_frames=plain.FRAMES, batch_size=128, seed=0)
        views = ViewMaker(
            mean=mean, std=std, n_mels=plain.MELS, crop_frames=plain.FRAMES, mixing="k_mix",
            k_mix_centroids=centroids,
        )  # fmt: skip
        generator, steps = torch.Generator().manual_seed(0), iter(range(10**6))

        def ours() -> None:
            views(source.batch(next(steps))[1], 2, generator)

        for _ in range(plain.BANK // 128):
            ours()

        def loop(keep: bool, n: int) -> tuple[float, float]:
            way = plain.PlainViews(mean, std, centroids, keep=keep)
            for file in files[: plain.BANK]:
                way.remember((torch.from_numpy(plain.crop(np.load(file))) - mean) / std)

            def per_clip() -> None:
                for row in np.random.default_rng(2).integers(0, len(store), n):
                    way(plain.crop(np.load(files[row])))

            a, b = least(3, ours, per_clip)
            return 1e3 * a / 128, 1e3 * b / n

        anew, kept = loop(False, 2), loop(True, 32)
        source.close()
    what = "two views with k-mix from the store / a loop"
    yield Row(f"{what} that finds the bank's clusters anew", *anew, 150, "ms a clip")
    yield Row(f"{what} that keeps them", *kept, None, "ms a clip")


def log_mels() -> Iterator[Row]:
    """Make log-mels of 384 clips of 10 s; the first figures are CPU time, the second wall time."""
    front_end = FrontEnd()
    with TemporaryDirectory() as folder:
        files = audio(Path(folder) / "audio", 768)
        manifest, _ = scan_audio(files[0].parent, corpus="bench", labels="none")

        def ours(n: int = 384, n_jobs: int = 1, per_shard: int = 512) -> None:
            store = Path(folder) / "store"
            shutil.rmtree(store, ignore_errors=True)
            extract_log_mels(
                manifest.head(n), store, front_end, n_jobs=n_jobs, clips_per_shard=per_shard
            )

        def loop() -> None:
            for file in files[:384]:
                plain.log_mel(file)

        one, by_librosa = least(2, ours, loop)
        yield Row("log-mels of an hour, one process / librosa", one, by_librosa, 1.4, "s")
        ways = [lambda: ours(n_jobs=2, per_shard=48), lambda: ours(per_shard=48)]
        two, one = least(2, *ways, clock=time.perf_counter)
        yield Row("log-mels of an hour, two workers / one", two, one, 1.9, "s of wall time")
        memory = [peak(lambda n=n: ours(n)) for n in (384, 768, 384, 768)]  # two rounds
        hours = 1024 * max(memory[1::2]), 1024 * max(memory[::2])
        yield Row("log-mels, memory: of two hours / of one", *hours, 0.9, "MiB")


def index() -> Iterator[Row]:
    """Open a corpus of a million clips, each of one frame, so that its tables are nearly all."""
    n, front_end = 10**6, FrontEnd()
    with TemporaryDirectory() as folder:
        path = Path(folder)
        np.save(shard_file(path, 0), np.zeros((n, front_end.n_mels), np.float16))
        names = np.random.default_rng(0).bytes(16 * n).hex()
        digests = [names[32 * i : 32 * i + 32] for i in range(n)]
        ids = [digest[:20] for digest in digests]
        rows = zip(ids, digests, [0] * n, range(n), [1] * n, [0.0] * n, [0.0] * n, strict=True)
        finish_store(path, front_end, list(rows))
        paths = [f"/some/folder/of/audio/{name}.flac" for name in ids]
        clips = {"clip_id": ids, "corpus": "bench", "path": paths, "offset": 0, "frames": 441_000}
        clips |= {"sample_rate": 44_100, "channels": 1, "duration": 10.0, "label": "a"}
        clips |= {"multi_label": False, "split": "train", "fold": 0, "group": ids}
        table = pd.DataFrame({**clips, "digest": digests}).astype(MANIFEST_TYPES)
        Corpus.of(LogMelStore.open(path), table).save(path / "corpus")
        del names, digests, ids, rows, paths, clips, table
        opens = (
            ("log-mel index of a million clips", lambda: LogMelStore.open(path)),
            ("manifest and index of a million clips", lambda: Corpus.load(path / "corpus")),
        )
        for name, opened in opens:
            held: list[Any] = []
            memory = peak(lambda held=held, opened=opened: held.append(opened()))
            assert len(held.pop()) == n
            (seconds,) = least(2, opened)
            yield Row(f"{name}, opened", seconds, None, 1, "s")
            yield Row(f"{name}, memory", memory, None, 1, "GiB")


if __name__ == "__main__":
    measure(crops, views_with_k_mix, log_mels, index)
