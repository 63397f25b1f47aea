"""One DECAR-v2 step in float32 and in bfloat16 channels-last, and what share of it the data takes.

    python benchmarks/bench_training_step.py --d 2048 --batch 128 --json training_step.json

The variants take turns and each figure is the best of several repeats. On a CPU time is the
process's CPU time, so that a busy machine disturbs less; on a GPU it is wall time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unfused import encoders, methods
from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.training.batches import CropSource
from unfused.training.optimisers import create
from unfused.training.precision import autocast, cpu_has_bf16, pick_device
from unfused.views import View, ViewMaker

FRAMES = 96
VARIANTS = {
    "fp32, contiguous": (torch.float32, torch.contiguous_format),
    "fp32, channels last": (torch.float32, torch.channels_last),
    "bf16, contiguous": (torch.bfloat16, torch.contiguous_format),
    "bf16, channels last": (torch.bfloat16, torch.channels_last),
}


def random_store(folder: Path, n_clips: int, seconds: float) -> LogMelStore:
    """Write a store of noise."""
    front_end, rng = FrontEnd(), np.random.default_rng(0)
    shape = (front_end.frames(seconds), front_end.n_mels)
    clips = {f"{i:05d}": rng.normal(-6, 3, shape).astype(np.float32) for i in range(n_clips)}
    return LogMelStore.write(folder, front_end, clips)


def step_of(
    variant: str, d: int, n_clips: int, views: tuple[View, View], device: torch.device
) -> Callable[[], None]:
    """Return a function that does one optimiser step on given views."""
    dtype, layout = VARIANTS[variant]
    method = methods.create("decar", encoders.create("audio_ntt", d=d), n_clips=n_clips)
    method.to(device).to(memory_format=layout)  # type: ignore[call-overload]
    optimiser = create("sgd", method.parameters(), lr=1e-3)
    clips = torch.arange(len(views[0].log_mel), device=device) % n_clips

    def step() -> None:
        with autocast(device, dtype):
            loss, _ = method(views, clips)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
    """Return how long one call takes."""
    clock = time.process_time
    if device.type == "cuda":
        clock = time.perf_counter
        torch.cuda.synchronize(device)
    start = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def measure(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Return clips per second of every stage."""
    with tempfile.TemporaryDirectory() as folder:
        store = random_store(Path(folder), options.clips, options.seconds)
        source = CropSource(
            store, np.arange(len(store)), crop_frames=FRAMES, batch_size=options.batch,
            seed=0, device=device,
        )  # fmt: skip
        views = ViewMaker(mean=-6.0, std=3.0, n_mels=64, crop_frames=FRAMES).to(device)
        generator = torch.Generator(device).manual_seed(0)
        batches = endless(source)
        batch = next(batches)[1]
        pair = views(batch, 2, generator)
        stages: dict[str, Callable[[], Any]] = {
            "gathering crops": lambda: next(batches),
            "making two views": lambda: views(batch, 2, generator),
        }
        for variant in VARIANTS:
            stages[variant] = step_of(variant, options.d, len(store), pair, device)
        best = dict.fromkeys(stages, float("inf"))
        for _ in range(options.repeats + 1):  # the first one warms up
            for name, work in stages.items():
                best[name] = min(best[name], seconds_of(work, device))
        source.close()
    return {name: len(batch.log_mel) / seconds for name, seconds in best.items()}


def endless(source: CropSource) -> Iterator[Any]:
    """Yield batches gathered in this thread, for ever."""
    epoch = 0
    while True:
        yield from source.sweep(epoch)
        epoch += 1


def main() -> None:
    """Measure, print a table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--d", type=int, default=2048, help="width of AudioNTT")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--clips", type=int, default=1280)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a clip")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    rates = measure(options, device)
    slowest = rates["fp32, contiguous"]
    print(f"{'stage':<22}{'clips/s':>10}{'ratio':>8}")
    for name, rate in rates.items():
        print(f"{name:<22}{rate:>10.0f}{rate / slowest:>8.2f}")
    data = sum(1 / rates[name] for name in ("gathering crops", "making two views"))
    share = data / (data + 1 / rates["bf16, channels last"])
    print(f"data share of a bf16 channels-last step: {share:.1%}")
    if options.json:
        facts = {"device": str(device), "cpu_has_bf16": cpu_has_bf16(), "data_share": share}
        settings = {**vars(options), "json": str(options.json), "device": str(device)}
        report = {"clips_per_second": rates, "settings": settings, **facts}
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
