"""Training: the Barlow Twins loss, a step of DECAR-v2 and of SLICER, pre-training from files on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

import plain
from made_data import audio, noise_store
from table import Row, allocator, least, measure
from unfused import DECAR, Corpus, encoders, methods
from unfused.losses import barlow_twins
from unfused.training.batches import CropSource
from unfused.training.optimisers import create
from unfused.training.precision import autocast, pick_precision
from unfused.views import ViewMaker, fit_centroids

D, BATCH = 2048, 128
CPU = torch.device("cpu")


def barlow() -> Iterator[Row]:
    """Compute the loss of DeLoRes forward and backward, N=128, D=2048, beside the D x D matrix."""
    generator = torch.Generator().manual_seed(0)
    z_a = torch.randn(128, 2048, generator=generator)
    z_b = z_a + 0.5 * torch.randn(128, 2048, generator=generator)
    views = z_a.requires_grad_(), z_b.requires_grad_()
    norm = torch.nn.BatchNorm1d(2048, affine=False, track_running_stats=False)

    def matrix(a: Tensor, b: Tensor) -> Tensor:
        product = norm(a).T @ norm(b) / len(a)
        on, every = product.diagonal(), product.square().sum()
        return (1 - on).square().sum() + 0.0051 * (every - on.square().sum())

    def ours(a: Tensor, b: Tensor) -> Tensor:
        return barlow_twins(a, b, 0.0051)

    torch.testing.assert_close(ours(*views), matrix(*views))
    seconds = least(10, lambda: ours(*views).backward(), lambda: matrix(*views).backward())
    yield Row("Barlow Twins loss / the D x D matrix", *(1e3 * s for s in seconds), 6, "ms")


def step(name: str, mixing: str, plain_method: Any, settings: dict[str, Any]) -> Row:
    """Take a step on 128 of 2,048 clips, from the store or files to new weights; d=2048."""
    with TemporaryDirectory() as folder:
        store, files = noise_store(Path(folder) / "store", 2048)
        rows = np.arange(len(store))
        (mean, std), (centroids, _) = store.statistics(rows), fit_centroids(store, rows)
        encoder = encoders.create("audio_ntt", d=D)
        method = methods.create(name, encoder, n_clips=10**5, **settings)
        method.to(memory_format=torch.channels_last)
        views = ViewMaker(
            mean=mean, std=std, n_mels=plain.MELS, crop_frames=plain.FRAMES, mixing=mixing,
            k_mix_centroids=centroids,
        )  # fmt: skip
        optimiser = create("sgd", method.parameters(), lr=1e-3, weight_decay=1e-4)
        source = CropSource(store, rows, crop_frames=plain.FRAMES, batch_size=BATCH, seed=0)
        generator, steps = torch.Generator().manual_seed(0), iter(range(10**6))

        def ours() -> None:
            allocator(kept=True)
            clips, crops = source.batch(next(steps))
            with autocast(CPU, pick_precision("auto", CPU)):
                loss, _ = method(views(crops, 2, generator), clips)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            method.after_step(0)

        way = plain.PlainViews(mean, std, centroids if mixing == "k_mix" else None)
        training, rng = plain.PlainTraining(plain_method, way), np.random.default_rng(0)
        for file in files:  # both banks are full
            way.remember((torch.from_numpy(plain.crop(np.load(file))) - mean) / std)
        for _ in range(plain.BANK // BATCH):
            views(source.batch(next(steps))[1], 2, generator)

        def per_clip() -> None:
            allocator(kept=False)
            clips = rng.choice(len(files), BATCH, replace=False)
            training.step([np.load(files[i]) for i in clips], torch.from_numpy(clips))

        seconds = least(2, ours, per_clip)
        source.close()
    what = {"decar": "DECAR-v2", "slicer": "SLICER"}[name]
    return Row(f"{what} step, d={D} / sample by sample, float32", *seconds, 3, "s")


def decar_step() -> Iterator[Row]:
    """See :func:`step`."""
    yield step("decar", "mixup", plain.PlainDECAR(D, 2048), {"n_prototypes": 204})


def slicer_step() -> Iterator[Row]:
    """See :func:`step`; the plain way keeps the clusters of its bank."""
    yield step("slicer", "k_mix", plain.PlainSLICER(D), {"projector_layers": 0})


def pretraining() -> Iterator[Row]:
    """Pre-train from FLAC files to the last gradient: 640 clips of 10 s, 2,560 pairs, d=2048.

    The plain way decodes a clip whenever it is drawn. 20,000 pairs would take it a quarter of an
    hour.
    """
    with TemporaryDirectory() as folder:
        files = audio(Path(folder) / "audio", 640)

        def ours() -> None:
            allocator(kept=True)
            corpus = Corpus(files[0].parent, folder=Path(folder) / "own", labels="none", n_jobs=1)
            DECAR(clip_updates=2560, encoder_settings={"d": D}, optimiser="sgd").fit(corpus)

        def per_clip() -> None:
            allocator(kept=False)
            method = plain.PlainDECAR(D, len(files))
            training = plain.PlainTraining(method, plain.PlainViews(-6.0, 3.0))
            for _ in range(4):
                method.start_epoch()
                for clips in torch.randperm(len(files)).split(BATCH):
                    training.step([plain.log_mel(files[i]) for i in clips], clips)

        seconds = least(1, ours, per_clip, warm_up=False)
    yield Row("pre-training from files, 2,560 pairs / sample by sample", *seconds, 8, "s")


BENCHMARKS: list[Callable[[], Iterator[Row]]] = [barlow, decar_step, slicer_step, pretraining]

if __name__ == "__main__":
    measure(*BENCHMARKS)
