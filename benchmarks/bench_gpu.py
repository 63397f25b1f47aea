"""Training on a GPU: a step of every method at the paper's batch, beside its encoder alone.

Clip pairs a second, the share of the encoder-only ceiling, and what the paper's pre-training would
take. Without a CUDA GPU nothing is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from made_data import noise_store
from table import Row, measure
from unfused import encoders, methods
from unfused.data.store import LogMelStore
from unfused.training.batches import CropSource
from unfused.training.graphed import Graphed
from unfused.training.loop import Training, channels_last
from unfused.training.precision import autocast, pick_device
from unfused.training.settings import TrainingSettings
from unfused.views import ViewMaker, fit_centroids

PAPER = Path(__file__).parents[1] / "conf/paper/parameters/paper.yml"
CLIPS, EPOCHS = 240_000, 100
"""Of the papers' pre-training on a tenth of AudioSet (SLICER, arXiv 2211.01519)."""
PASSES: Mapping[str, tuple[int, int]] = {
    "decar": (1, 1),
    "byol_a": (2, 2),
    "selfie": (2, 2),
    "cola": (2, 0),
    "slicer": (2, 2),
    "delores_s": (2, 0),
    "delores_m": (2, 2),
    "conformer": (1, 0),
}
"""Passes of a step through the encoder, with a gradient and without."""


def training(
    name: str, store: LogMelStore, folder: Path, n_clips: int = 20_480, **changes: Any
) -> Training:
    """Return a training with the paper's settings, on clips that are repeated to ``n_clips``."""
    torch._dynamo.reset()  # or another batch size would be compiled for any size
    paper = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    given = paper["methods"][name]
    architecture = given.get("encoder", paper["encoder"])
    torch.manual_seed(0)
    encoder = encoders.create(architecture["name"], **architecture["settings"])
    method = methods.create(name, encoder, n_clips=n_clips, **given["settings"])
    rows = np.resize(np.arange(len(store)), n_clips)
    mean, std = store.statistics(rows[: len(store)])
    views = dict(given["views"])
    if views.get("mixing") == "k_mix":
        views["k_mix_centroids"] = fit_centroids(store, rows[: len(store)])[0]
    frames = method.crop_frames
    maker = ViewMaker(mean=mean, std=std, n_mels=64, crop_frames=frames, **views)
    settings = TrainingSettings(
        **{**given["training"], "precision": "bf16", "compile": True, **changes}
    )
    source = CropSource(
        store, rows, crop_frames=frames, n_crops=method.n_crops, batch_size=settings.batch_size,
        seed=0, device=pick_device("cuda"),
    )  # fmt: skip
    run = Training(method, source, maker, settings, folder, 0, pick_device("cuda"))
    run.resume()
    return run


def encoder_only(run: Training, name: str) -> Callable[[], Any]:
    """Return the encoder's passes of a step, on crops that lie there, and nothing else."""
    encoder = encoders.create(run.method.encoder.name, **run.method.encoder.settings)
    encoder = encoder.to(run.device).train()
    if run.settings.channels_last:
        encoder = encoder.to(memory_format=torch.channels_last)
    with_gradient, without = PASSES[name]
    view = channels_last(run.views.plain(run.source.batch(0)[1]))
    size = run.source.clips_per_step
    crop, gradient = view.log_mel[:size], torch.randn(size, encoder.dim, device=run.device)
    spans = view.spans[:size]
    forward = torch.compile(encoder) if run.settings.compile else encoder

    def passes(*_: Tensor) -> dict[str, Tensor]:
        encoder.zero_grad(set_to_none=True)
        with autocast(run.device, run.dtype):
            for _ in range(without):
                with torch.no_grad():
                    forward(crop, spans)
            outputs = [forward(crop, spans) for _ in range(with_gradient)]
        for output in outputs:
            output.backward(gradient.to(output.dtype))
        return {}

    return Graphed(passes) if run.settings.cuda_graph else passes


def seconds(work: Callable[[], Any], repeats: int = 30, rounds: int = 3) -> float:
    """Return the least mean seconds of a call in some rounds, on an otherwise idle GPU."""
    taken = []
    for _ in range(rounds + 1):  # the first one warms up
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(repeats):
            work()
        torch.cuda.synchronize()
        taken.append((time.perf_counter() - begin) / repeats)
    return min(taken[1:])


def steps() -> Iterator[Row]:
    """Measure every method's step, bf16, beside its encoder alone."""
    with TemporaryDirectory() as folder:
        store, _ = noise_store(Path(folder) / "store", 2048)
        for name in PASSES:
            run = training(name, store, Path(folder) / name)
            run.start_epoch(0)
            step, alone = seconds(run.train_step), seconds(encoder_only(run, name))
            size = run.source.clips_per_step
            run.source.close()
            pairs = f"{size / step:,.0f} clips/s"
            yield Row(f"GPU: {name}, a step of {size} ({pairs}) / encoder alone", 1e3 * step,
                      1e3 * alone, 0.9, "ms")  # fmt: skip
            yield Row(f"GPU: {name}, {EPOCHS} epochs of {CLIPS:,} clips, projected",
                      EPOCHS * CLIPS / size * step / 60, None, 30 if name == "slicer" else None,
                      "min")  # fmt: skip


def ways() -> Iterator[Row]:
    """Measure what recording the step and compiling it bring."""
    with TemporaryDirectory() as folder:
        store, _ = noise_store(Path(folder) / "store", 2048)
        for name in ("slicer", "decar", "byol_a"):
            taken = {}
            for way, settings in {
                "launched kernel by kernel": {"compile": False, "cuda_graph": False},
                "recorded": {"compile": False},
                "recorded and compiled": {},
            }.items():
                run = training(name, store, Path(folder) / name / way, **settings)
                run.start_epoch(0)
                taken[way] = 1e3 * seconds(run.train_step)
                run.source.close()
            first, *others = taken.items()
            for way, milliseconds in others:
                yield Row(f"GPU: {name}, a step {way} / {first[0]}", milliseconds, first[1], None,
                          "ms")  # fmt: skip


if __name__ == "__main__":
    if torch.cuda.is_available():
        measure(steps, ways)
    else:
        print("no CUDA GPU here: nothing is measured on one")
