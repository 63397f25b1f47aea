"""k-mix with a full bank: batched, against two loops over crops; and both views of a crop.

The loops do the same thing crop by crop in plain Python: "assign all" finds the cluster of every
bank entry anew for each crop, as LAPE's code does; "ids kept" keeps them with the entries, as the
paper says, and sorts the queue for each crop.

python benchmarks/bench_k_mix.py --json k_mix.json
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from unfused.core.seeding import torch_generator
from unfused.encoders.encoder import band_means
from unfused.views import KMix, View, ViewMaker
from unfused.views.k_mix import centroid_distances

N_MELS, FRAMES, BANK, FURTHEST, RATIO = 64, 96, 2048, 128, 0.4


def crops(n: int, seed: int) -> View:
    """Return crops of noise with different spectra, in nats."""
    generator = torch_generator(seed, "crops")
    colour = torch.randn(n, 1, N_MELS, 1, generator=generator) * 3 - 6
    log_mel = colour + torch.randn(n, 1, N_MELS, FRAMES, generator=generator) * 2
    return View(log_mel, torch.tensor([[0.0, float(FRAMES)]] * n))


def per_crop(k_mix: KMix, batch: View, normalised: Tensor, n: int, *, ids_kept: bool) -> None:
    """Mix the first ``n`` crops one after the other."""
    centroids = k_mix.centroids
    distances = centroid_distances(centroids).tolist()
    kept = k_mix.clusters.tolist()
    for i in range(n):
        mean = batch.log_mel[i, 0].mean(1)
        own = int((centroids - mean).norm(dim=1).argmin())
        clusters = kept
        if not ids_kept:
            means = (entry.mean(1) for entry in k_mix.bank)
            clusters = [int((centroids - mean).norm(dim=1).argmin()) for mean in means]
        queue = sorted(range(BANK), key=lambda entry: -distances[own][clusters[entry]])
        partner = random.choice(queue[:FURTHEST])
        share = RATIO * random.random()
        torch.log((1 - share) * normalised[i, 0].exp() + share * k_mix.bank[partner].exp())


def milliseconds(function: Callable[[], object], repetitions: int) -> float:
    """Return the fastest of several calls."""
    function()
    taken = []
    for _ in range(repetitions):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return 1000 * min(taken)


def measure(batch_size: int, n_centroids: int, repetitions: int) -> dict[str, float]:
    """Return milliseconds per crop, or per pair of views."""
    views = ViewMaker(
        mean=-6.0,
        std=3.6,
        n_mels=N_MELS,
        crop_frames=FRAMES,
        mixing="k_mix",
        k_mix_centroids=band_means(*crops(n_centroids, 99)),
    )
    k_mix, generator = views.mixup, torch_generator(0, "views")
    assert isinstance(k_mix, KMix)
    for step in range(-(-BANK // batch_size)):
        views(crops(batch_size, step), 0, generator)
    assert int(k_mix.filled) == BANK
    batch = crops(batch_size, 1000)
    normal = views.normalised(batch)
    normalised = normal.log_mel

    def batched() -> None:
        k_mix(normal, k_mix.nearest(batch), generator)

    return {
        "batched": milliseconds(batched, repetitions) / batch_size,
        "loop, ids kept": milliseconds(
            lambda: per_crop(k_mix, batch, normalised, 8, ids_kept=True), 3
        )
        / 8,
        "loop, assign all": milliseconds(
            lambda: per_crop(k_mix, batch, normalised, 2, ids_kept=False), 2
        )
        / 2,
        "choice of partners alone": milliseconds(
            lambda: k_mix.draw(k_mix.nearest(batch), generator), repetitions
        )
        / batch_size,
        "both views of a crop": milliseconds(lambda: views(batch, 2, generator), repetitions)
        / batch_size,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--centroids", type=int, default=128)
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(arguments.batch_size, arguments.centroids, arguments.repetitions)
    for name, value in found.items():
        print(f"{name:26} {value:8.3f} ms  {value / found['batched']:8.1f} x batched")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
